//! `dns error`

use chaos_common::{
    fault::{DnsCode, DnsError, Fault},
    invalid::Invalid,
    value::Percent,
};

use super::{above_zero, dns::QuestionFlags, of_flag};

/// Names are not found, or name servers do not answer
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Names are not found, or name servers do not answer", next_help_heading = "What")]
pub(super) struct Flags {
    /// How they fail: NXDOMAIN, SERVFAIL, REFUSED, timeout, … [default: SERVFAIL]
    ///
    /// One of FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, timeout. With timeout there is no answer at all; the others are
    /// answered at once on this node, and no name server is asked.
    #[arg(long, value_name = "CODE", allow_hyphen_values = true)]
    code: Option<DnsCode>,

    /// How many questions, each with this chance: above 0, to 100 [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    #[command(flatten)]
    questions: QuestionFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        DnsError::new(flags.questions.try_into()?, flags.code, flags.percent)
            .map(Self::DnsError)
            .map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--name a.b", "SERVFAIL a.b"),
            (
                "--name *.b,c --except x.b --type A --type aaaa --code nxdomain --percent 5",
                "5 % NXDOMAIN *.b c but not x.b, A AAAA",
            ),
            (
                "--name ** --server 10.0.0.1 --port 53,5353 --code timeout --tcp drop",
                "timeout **, from 10.0.0.1, ports 53,5353, TCP: drop",
            ),
        ] {
            let fault = parse(&format!("dns error {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("dns error {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("dns error", "--name");
        refused("dns error --name a.*", "not its first label");
        refused("dns error --name a --code no", "give one of FORMERR, SERVFAIL");
        refused("dns error --name a --percent 0", "0 % would do nothing");
        refused("dns error --name a --type B", "no type of records");
        refused("dns error --name a --server x", "--server");
        refused("dns error --name a --tcp delay", "--tcp: delay is not what this fault does");
    }
}
