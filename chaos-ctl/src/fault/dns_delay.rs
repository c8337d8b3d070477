//! `dns delay`

use chaos_common::{
    fault::{DelayOf, DnsDelay, Fault},
    invalid::Invalid,
    value::{Percent, Wait},
};

use super::{above_zero, dns::QuestionFlags, of_flag};

/// Names take longer to be found
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Names take longer to be found", next_help_heading = "What")]
pub(super) struct Flags {
    /// Hold questions for this long on average: 100ms, 1s500ms, 250us
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    latency: Wait,

    /// How far it strays from that, evenly to both sides [default: 0s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    jitter: Option<Wait>,

    /// What is held: queries on their way out, or their answers [default: queries]
    #[arg(long, value_name = "WHAT", allow_hyphen_values = true)]
    of: Option<DelayOf>,

    /// How many, each with this chance: above 0, to 100 [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    #[command(flatten)]
    questions: QuestionFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let Flags { latency, jitter, of, percent, questions } = flags;
        DnsDelay::new(questions.try_into()?, of, latency, jitter, percent)
            .map(Self::DnsDelay)
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--name a.b --latency 1s", "1s queries a.b"),
            (
                "--name ** --latency 1s --jitter 5ms --of answers --percent 5 --tcp delay",
                "1s ± 5ms for 5 % answers **, TCP: delay",
            ),
        ] {
            let fault = parse(&format!("dns delay {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("dns delay {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("dns delay --name a", "--latency");
        refused("dns delay --name a --latency 0s", "--latency: no time at all would do nothing");
        refused("dns delay --name a --latency 1s --of both", "queries or answers");
        refused("dns delay --name a --latency 1s --tcp reset", "--tcp: reset is not what");
    }
}
