//! `network reorder`

use chaos_common::{
    fault::{Fault, NetworkReorder, ReorderModel},
    invalid::{At as _, Invalid},
    value::{Every, Percent, Share, Wait},
};

use super::{above_zero, network_filter::FilterFlags, of_flag};

/// Some packets are held, and those behind overtake them
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Some packets are held, and those behind overtake them",
    group = clap::ArgGroup::new("model").required(true).args(["percent", "every"]),
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// Hold each packet with this chance: more than 0, at most 100
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    /// How much a packet's luck is that of the one before: 0 to less than 100
    ///
    /// The correlation of neighbours. Packets that are held stand closer together, and are as many as
    /// before.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "percent", conflicts_with = "every")]
    correlation: Option<Percent>,

    /// Hold the last of each N packets
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    every: Option<Every>,

    /// Hold them for this long: 10ms; what comes within it goes first
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    time: Wait,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let model = match (flags.percent, flags.every) {
            (Some(percent), _) => {
                ReorderModel::Share(Share::new(percent, flags.correlation).map_err(of_flag)?)
            }
            (None, Some(every)) => ReorderModel::Every(every),
            (None, None) => return Err(Invalid::new("give either --percent or --every")),
        };
        Ok(Self::NetworkReorder(NetworkReorder {
            model,
            time: flags.time.above_zero().at("--time")?,
            filter: flags.filter.try_into()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--percent 25 --time 10ms", "25 % by 10ms, out"),
            ("--percent 25 --correlation 50 --time 10ms", "25 % (correlation 50 %) by 10ms, out"),
            ("--every 5 --time 250us --direction in", "one in 5 by 250us, in"),
        ] {
            let fault = parse(&format!("network reorder {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network reorder {said}"));
        }
    }

    #[test]
    fn what_would_do_nothing_or_contradicts_itself_is_refused() {
        for (flags, words) in [
            ("", "--time <DURATION>"),
            ("--time 1s", "--every <N>"),
            ("--percent 1", "--time <DURATION>"),
            ("--percent 1 --time 0s", "--time: no time at all would do nothing"),
            ("--percent 1 --time -1s", "write it as 100ms"),
            ("--percent 0 --time 1s", "0 % would do nothing"),
            ("--every 1 --time 1s", "give at least 2"),
            ("--every 2 --percent 1 --time 1s", "cannot be used with"),
            ("--every 2 --correlation 1 --time 1s", "cannot be used with"),
            ("--percent 1 --correlation 100 --time 1s", "--correlation: with 100"),
        ] {
            refused(format!("network reorder {flags}").trim_end(), words);
        }
    }
}
