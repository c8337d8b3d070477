//! `network loss`

use chaos_common::{
    fault::{Burst, Fault, LossModel, NetworkLoss},
    invalid::Invalid,
    value::Percent,
};

use super::network_filter::FilterFlags;

/// Packets vanish as on a bad wire, and nobody is told
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Packets vanish as on a bad wire, and nobody is told",
    group = clap::ArgGroup::new("model").required(true).args(["percent", "burst_enter"]),
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// Each packet vanishes with this chance: more than 0, at most 100
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero)]
    percent: Option<Percent>,

    /// Lose packets in bursts: chance at each packet that one begins
    ///
    /// The Gilbert-Elliott model. A burst lasts 100 / LEAVE packets on average, and ENTER / (ENTER +
    /// LEAVE) of all packets are in one.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero, requires = "burst_leave")]
    burst_enter: Option<Percent>,

    /// Chance at each packet that the burst ends
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero, requires = "burst_enter", conflicts_with = "percent")]
    burst_leave: Option<Percent>,

    /// Loss within a burst [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero, requires = "burst_enter", conflicts_with = "percent")]
    burst_inside: Option<Percent>,

    /// Loss outside of bursts [default: 0]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "burst_enter", conflicts_with = "percent")]
    burst_outside: Option<Percent>,

    #[command(flatten)]
    filter: FilterFlags,
}

fn above_zero(text: &str) -> Result<Percent, Invalid> {
    text.parse::<Percent>()?.above_zero()
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let model = match (flags.percent, flags.burst_enter, flags.burst_leave) {
            (Some(percent), _, _) => LossModel::Percent(percent.above_zero()?),
            (None, Some(enter), Some(leave)) => LossModel::Burst(
                Burst {
                    enter,
                    leave,
                    inside: flags.burst_inside.unwrap_or(Percent::ALL),
                    outside: flags.burst_outside.unwrap_or(Percent::ZERO),
                }
                .checked()?,
            ),
            (None, _, _) => {
                return Err(Invalid::new(
                    "give either --percent, or --burst-enter and --burst-leave",
                ));
            }
        };
        Ok(Self::NetworkLoss(NetworkLoss { model, filter: flags.filter.try_into()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;

    #[test]
    fn all_flags_arrive() {
        let line = "network loss --percent 30 --to 10.0.0.0/8,fd00::/8 --except 10.0.0.1 --port 5432 \
                    --port 6000-6010 --local-port 80 --protocol tcp --direction both";
        assert_eq!(
            parse(line).unwrap().to_string(),
            "network loss 30 %, both, remote 10.0.0.0/8,fd00::/8, except 10.0.0.1, \
             remote ports 5432,6000-6010, local ports 80, tcp"
        );
        assert_eq!(
            parse("network loss --percent 0.5%").unwrap().to_string(),
            "network loss 0.5 %, out"
        );
        assert!(parse("network loss --percent 1 --protocol icmp,tcp --port 80").is_ok());
    }

    #[test]
    fn bursts_have_defaults() {
        assert_eq!(
            parse("network loss --burst-enter 1 --burst-leave 25").unwrap().to_string(),
            "network loss in bursts (enter 1 %, leave 25 %, inside 100 %, outside 0 %), out"
        );
        let all =
            "network loss --burst-enter 1 --burst-leave 25 --burst-inside 90 --burst-outside 0.1";
        assert!(parse(all).unwrap().to_string().contains("inside 90 %, outside 0.1 %"));
    }

    #[test]
    fn what_would_do_nothing_or_contradicts_itself_is_refused() {
        for (flags, words) in [
            ("", "required"),
            ("--percent 0", "0 % would do nothing"),
            ("--percent -1", "no percentage"),
            ("--percent NaN", "no percentage"),
            ("--percent 100.1", "no percentage"),
            ("--percent inf", "no percentage"),
            ("--percent 1 --burst-enter 1 --burst-leave 1", "cannot be used with"),
            ("--percent 1 --burst-inside 1", "cannot be used with"),
            ("--burst-enter 1", "--burst-leave"),
            ("--burst-leave 1", "--burst-enter"),
            ("--burst-enter 0 --burst-leave 1", "would do nothing"),
            ("--burst-enter 1 --burst-leave 1 --burst-inside 0", "would do nothing"),
            ("--percent 1 --to 10.0.0.0/33", "no address range"),
            ("--percent 1 --to example.org", "no address range"),
            (
                "--percent 1 --to 10.0.0.0/8 --except 10.0.0.1/8",
                "--to and --except: 10.0.0.0/8 is in both",
            ),
            ("--percent 1 --protocol icmp --port 80", "--protocol and --port: icmp alone has no"),
            ("--percent 1 --protocol icmp,icmp --local-port 80", "--protocol and --local-port:"),
            ("--percent 1 --port 65536", "no port"),
            ("--percent 1 --port 2-1", "ends before it begins"),
            ("--percent 1 --port 1,2,3,4,5,6,7,8,9", "--port: 9 port ranges are too many"),
            ("--percent 1 --protocol sctp", "no protocol"),
            ("--percent 1 --direction up", "no direction"),
        ] {
            let line = format!("network loss {flags}");
            let error = parse(line.trim_end()).unwrap_err();
            assert!(error.contains(words), "{flags}: {error}");
        }
    }
}
