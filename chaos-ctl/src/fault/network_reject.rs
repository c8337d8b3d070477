//! `network reject`

use chaos_common::{
    fault::{Answer, Fault, NetworkReject},
    invalid::Invalid,
    value::Percent,
};

use super::{above_zero, network_filter::FilterFlags};

/// Who sends gets an error at once, instead of silence
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Who sends gets an error at once, instead of silence",
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// reset, portUnreachable, hostUnreachable, networkUnreachable or prohibited
    ///
    /// A reset ends a TCP connection; over UDP it is portUnreachable. The others are ICMP errors, of which an
    /// established connection takes no notice: its packets are lost.
    #[arg(long, value_name = "ANSWER", allow_hyphen_values = true, default_value_t)]
    answer: Answer,

    /// Each packet is rejected with this chance: more than 0, at most 100 [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        Ok(Self::NetworkReject(NetworkReject {
            answer: flags.answer,
            percent: flags.percent.unwrap_or(Percent::ALL),
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
            ("", "reset, out"),
            (" --percent 5", "5 % reset, out"),
            (" --answer hostUnreachable --direction in", "hostUnreachable, in"),
        ] {
            let fault = parse(&format!("network reject{flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network reject {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("network reject --percent 0", "0 % would do nothing");
        refused("network reject --answer no", "give one of reset, portUnreachable");
    }
}
