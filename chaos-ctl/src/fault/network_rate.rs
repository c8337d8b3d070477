//! `network rate`

use chaos_common::{
    fault::{Excess, Fault, NetworkRate},
    invalid::Invalid,
    value::{BitRate, Bytes},
};

use super::{network_filter::FilterFlags, of_flag};

/// Packets go through a slow line
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Packets go through a slow line", next_help_heading = "What")]
pub(super) struct Flags {
    /// How fast the line is, in bits per second: 500kbit, 10Mbit, 1Gbit
    #[arg(long, value_name = "RATE", allow_hyphen_values = true)]
    rate: BitRate,

    /// What may go at once after a pause [default: 10 ms of the line]
    ///
    /// At least 1600 bytes, which is also the default of very slow lines.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    burst: Option<Bytes>,

    /// How much may wait; more is dropped [default: one second of the line]
    ///
    /// At least 64KiB, which is also the default of very slow lines.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, conflicts_with = "drop")]
    queue: Option<Bytes>,

    /// Drop what is too much, instead of letting it wait
    #[arg(long)]
    drop: bool,

    /// Give each connection a line of its own, instead of all the same one
    #[arg(long)]
    per_connection: bool,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let Flags { rate, burst, queue, drop, per_connection, filter } = flags;
        let excess = if drop { Some(Excess::Drop) } else { queue.map(Excess::Queue) };
        NetworkRate::new(rate, burst, excess, per_connection, filter.try_into()?)
            .map(Self::NetworkRate)
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--rate 10Mbit", "10Mbit/s, burst 12500B, queue 1250kB, out"),
            (
                "--rate 1gbit --burst 64KiB --queue 1MiB --per-connection --direction both",
                "1Gbit/s for each connection, burst 64KiB, queue 1MiB, both",
            ),
            ("--rate 500kbit --drop", "500kbit/s, burst 1600B, drop, out"),
        ] {
            let fault = parse(&format!("network rate {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network rate {said}"));
        }
    }

    #[test]
    fn what_nothing_would_fit_into_is_refused() {
        for (flags, words) in [
            ("", "--rate <RATE>"),
            ("--rate 10", "write it as 500kbit, 10Mbit or 1Gbit"),
            ("--rate -1Mbit", "no bit rate"),
            ("--rate 999bit", "give 1kbit to 100Gbit"),
            ("--rate 1Mbit --burst 10B", "--burst: 10B lets no full packet pass"),
            ("--rate 1Mbit --queue 1kB", "--queue: 1kB is too little for what TCP sends at once"),
            ("--rate 1kbit --queue 1GB", "--queue: 1GB would wait for more than an hour"),
            ("--rate 1Mbit --queue 1MB --drop", "cannot be used with"),
            ("--rate 1Mbit --queue much", "write it as 1500B, 64KiB or 10MB"),
        ] {
            refused(format!("network rate {flags}").trim_end(), words);
        }
    }
}
