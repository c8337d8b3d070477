//! `network reject`

use chaos_common::{
    fault::{Answer, Fault, NetworkReject, With},
    invalid::{At as _, Invalid},
    value::{Errno, Percent},
};

use super::{above_zero, network_filter::FilterFlags, of_flag};

/// Who sends gets an error at once, instead of silence
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Who sends gets an error at once, instead of silence",
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// What answers a packet: a reset or an error of ICMP [default: reset]
    ///
    /// One of reset, portUnreachable, hostUnreachable, networkUnreachable, prohibited. A reset ends a TCP connection; over UDP it is portUnreachable. The others are ICMP errors, of which an
    /// established connection takes no notice: its packets are lost.
    #[arg(long, value_name = "ANSWER", allow_hyphen_values = true)]
    answer: Option<Answer>,

    /// Instead, let calls fail: connecting, and sending without a connection
    ///
    /// With an errno by its name: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, … No packet leaves. Before Linux 6.1 there
    /// is EPERM only.
    #[arg(long, value_name = "ERRNO", allow_hyphen_values = true, conflicts_with = "answer")]
    connect: Option<Errno>,

    /// Also reset the connections that are open when it begins, at both ends
    ///
    /// At once: all that the target has and the filter is about, idle ones too. Only with --answer reset, and without --percent:
    /// a share of connections is --connection-percent.
    #[arg(long, conflicts_with_all = ["connect", "percent"])]
    reset_open: bool,

    /// How many packets or calls, each with this chance: above 0, to 100 [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let mut with = With::either(flags.answer, flags.connect)?;
        if flags.reset_open {
            with = with.reset_open().at("--reset-open")?;
        }
        NetworkReject::new(with, flags.percent, flags.filter.try_into()?)
            .map(Self::NetworkReject)
            .map_err(of_flag)
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
            (
                " --connect EHOSTUNREACH --percent 5 --port 80",
                "5 % connect EHOSTUNREACH, out, remote ports 80",
            ),
            (" --answer hostUnreachable --direction in", "hostUnreachable, in"),
            (" --reset-open --port 80", "reset and what is open, out, remote ports 80"),
            (" --answer reset --reset-open", "reset and what is open, out"),
        ] {
            let fault = parse(&format!("network reject{flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network reject {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("network reject --percent 0", "0 % would do nothing");
        refused("network reject --answer reset --connect EPERM", "cannot be used with");
        refused("network reject --connect no", "give one of ECONNREFUSED, ETIMEDOUT");
        refused("network reject --connect EPERM --direction in", "the target itself connects to");
        refused("network reject --reset-open --connect EPERM", "cannot be used with");
        refused("network reject --reset-open --percent 5", "cannot be used with");
        refused(
            "network reject --reset-open --answer prohibited",
            "--reset-open: prohibited ends no connection",
        );
        for (flag, word) in [
            ("--dscp ef", "--dscp"),
            ("--interface eth0", "--interface"),
            ("--first 10packets", "--first"),
            ("--connections new", "--connections: a connection that is open is not new"),
            ("--protocol udp", "--protocol: only TCP has connections"),
        ] {
            refused(&format!("network reject --reset-open {flag}"), word);
        }
        refused("network reject --answer no", "give one of reset, portUnreachable");
    }
}
