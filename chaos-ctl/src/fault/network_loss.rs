//! `network loss`

use chaos_common::{
    fault::{Burst, Fault, FourStates, LossModel, NetworkLoss},
    invalid::{At as _, Invalid},
    value::{Every, Percent, Share},
};

use super::{above_zero, network_filter::FilterFlags, of_flag};

/// Packets vanish as on a bad wire, and nobody is told
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Packets vanish as on a bad wire, and nobody is told",
    group = clap::ArgGroup::new("model").required(true).args(["percent", "burst_enter", "p13", "every"]),
    next_help_heading = "What"
)]
pub(super) struct Flags {
    /// Each packet vanishes with this chance: more than 0, at most 100
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero)]
    percent: Option<Percent>,

    /// How much a packet's luck is that of the one before: 0 to less than 100
    ///
    /// The correlation of neighbours. Losses come in longer rows, and are as many as before.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "percent", conflicts_with_all = ["burst_enter", "p13", "every"])]
    correlation: Option<Percent>,

    /// Lose the last of each N packets
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    every: Option<Every>,

    /// Lose packets in bursts: chance at each packet that one begins
    ///
    /// The Gilbert-Elliott model. A burst lasts 100 / LEAVE packets on average, and ENTER / (ENTER +
    /// LEAVE) of all packets are in one.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero, requires = "burst_leave")]
    burst_enter: Option<Percent>,

    /// Chance at each packet that the burst ends
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero, requires = "burst_enter")]
    #[arg(conflicts_with_all = ["percent", "p13", "every"])]
    burst_leave: Option<Percent>,

    /// Loss within a burst [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(value_parser = above_zero, requires = "burst_enter")]
    #[arg(conflicts_with_all = ["percent", "p13", "every"])]
    burst_inside: Option<Percent>,

    /// Loss outside of bursts [default: 0]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "burst_enter", conflicts_with_all = ["percent", "p13", "every"])]
    burst_outside: Option<Percent>,

    /// Lose packets in the four states of netem: chance that a bad time begins
    ///
    /// The chances are those of netem's `loss state`. Good times: packets arrive (1), or one alone is
    /// lost (4). Bad times: packets are lost (3), or arrive in between (2). This one is from 1 to 3.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "p31")]
    p13: Option<Percent>,

    /// Chance at each loss of a bad time that the bad time ends
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "p13", conflicts_with_all = ["percent", "burst_enter", "every"])]
    p31: Option<Percent>,

    /// Chance at each loss of a bad time that packets arrive in between [default: 0]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "p13", conflicts_with_all = ["percent", "burst_enter", "every"])]
    p32: Option<Percent>,

    /// Chance at each packet that arrives in between that losses go on [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "p13", conflicts_with_all = ["percent", "burst_enter", "every"])]
    p23: Option<Percent>,

    /// Chance at each packet of good times that it alone is lost [default: 0]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    #[arg(requires = "p13", conflicts_with_all = ["percent", "burst_enter", "every"])]
    p14: Option<Percent>,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let model = flags.model()?;
        Ok(Self::NetworkLoss(NetworkLoss { model, filter: flags.filter.try_into()? }))
    }
}

impl Flags {
    fn model(&self) -> Result<LossModel, Invalid> {
        let burst = self.burst_enter.zip(self.burst_leave);
        let states = self.p13.zip(self.p31);
        if let Some(percent) = self.percent {
            let share = Share::new(percent, self.correlation).map_err(of_flag)?;
            Ok(LossModel::Share(share))
        } else if let Some(every) = self.every {
            Ok(LossModel::Every(every))
        } else if let Some((enter, leave)) = burst {
            let burst = Burst {
                enter,
                leave,
                inside: self.burst_inside.unwrap_or(Percent::ALL),
                outside: self.burst_outside.unwrap_or(Percent::ZERO),
            };
            burst.checked().at("burst").map(LossModel::Burst).map_err(of_flag)
        } else if let Some((p13, p31)) = states {
            let states = FourStates {
                p13,
                p31,
                p32: self.p32.unwrap_or(Percent::ZERO),
                p23: self.p23.unwrap_or(Percent::ALL),
                p14: self.p14.unwrap_or(Percent::ZERO),
            };
            states.checked().map(LossModel::FourStates).map_err(of_flag)
        } else {
            Err(Invalid::new(
                "give one of --percent, --every, --burst-enter with --burst-leave, and --p13 with --p31",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

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
    fn every_model_arrives() {
        for (flags, said) in [
            ("--percent 30 --correlation 25", "30 % (correlation 25 %), out"),
            ("--every 10", "one in 10, out"),
            ("--p13 1 --p31 20", "in states (p13 1 %, p31 20 %, p32 0 %, p23 100 %, p14 0 %), out"),
            (
                "--p13 0 --p31 20 --p32 10 --p23 50 --p14 0.5",
                "in states (p13 0 %, p31 20 %, p32 10 %, p23 50 %, p14 0.5 %), out",
            ),
        ] {
            let fault = parse(&format!("network loss {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network loss {said}"));
        }
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
            ("--percent 1 --every 2", "cannot be used with"),
            ("--percent 1 --p31 2", "cannot be used with"),
            ("--every 2 --burst-leave 1", "cannot be used with"),
            ("--every 2 --correlation 1", "cannot be used with"),
            ("--correlation 1", "--percent"),
            ("--percent 1 --correlation 100", "--correlation: with 100 the first packet"),
            ("--every 1", "give at least 2, or a percentage"),
            ("--every -1", "give a whole number from 2 on"),
            ("--burst-enter 1", "--burst-leave"),
            ("--burst-leave 1", "--burst-enter"),
            ("--burst-enter 0 --burst-leave 1", "would do nothing"),
            ("--burst-enter 1 --burst-leave 1 --burst-inside 0", "would do nothing"),
            ("--p13 1", "--p31"),
            ("--p31 1", "--p13"),
            ("--p14 1", "--p13"),
            ("--p13 0 --p31 1", "--p13: with p14 also 0 nothing would be lost"),
            ("--p13 1 --p31 0", "--p31: with 0 a bad time would never end"),
            ("--p13 1 --p31 60 --p32 41", "--p32: p31 and p32 are more than 100 % together"),
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
        ] {
            refused(format!("network loss {flags}").trim_end(), words);
        }
    }
}
