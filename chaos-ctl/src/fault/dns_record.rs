//! `dns record`

use chaos_common::{
    fault::{Addresses, DnsRecord, Fault, RecordParts},
    invalid::Invalid,
    value::{DnsName, Percent, Wait},
};

use super::{above_zero, dns::QuestionFlags, of_flag};

/// Names have other addresses, or none
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Names have other addresses, or none", next_help_heading = "What")]
pub(super) struct Flags {
    /// Answer with these: addresses, a CIDR for any of its addresses, or random
    ///
    /// Repeat the flag or separate with commas; they come in any order. A CIDR is one address of it, each time another;
    /// random is one that nobody has, of 198.18.0.0/15 and of 2001:db8::/32. Over a family without any the answer is empty.
    #[arg(
        long = "address",
        value_name = "ADDRESS",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    addresses: Vec<Addresses>,

    /// The addresses are those of this name, of which the asked one is an alias
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    cname: Option<DnsName>,

    /// No records, and no error: the name is there, but not with that type
    #[arg(long)]
    empty: bool,

    /// No records, as if there were too many for UDP: ask again over TCP
    #[arg(long)]
    truncated: bool,

    /// For how long it may be kept, also after the fault [default: 0s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    ttl: Option<Wait>,

    /// How many questions, each with this chance: above 0, to 100 [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    #[command(flatten)]
    questions: QuestionFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let Flags { addresses, cname, empty, truncated, ttl, percent, questions } = flags;
        let parts = RecordParts { addresses, cname, empty, truncated, ttl, percent };
        DnsRecord::new(questions.try_into()?, parts).map(Self::DnsRecord).map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--name a.b --address 10.0.0.1", "10.0.0.1 for a.b"),
            (
                "--name *.b --type A --address 10.0.0.1,fd00::1 --address random --cname c --ttl 5s --percent 5",
                "5 % CNAME c 10.0.0.1 fd00::1 random (TTL 5s) for *.b, A",
            ),
            ("--name a --empty --tcp refuse", "empty for a, TCP: refuse"),
            ("--name a --truncated", "truncated for a"),
        ] {
            let fault = parse(&format!("dns record {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("dns record {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        refused("dns record --name a", "not said with what to answer");
        refused("dns record --name a --address x", "no address range");
        refused("dns record --name a --cname *.b", "many names");
        refused("dns record --name a --empty --truncated", "leave the others out");
        refused(
            "dns record --name a --address ::1 --ttl 1ms",
            "--ttl: 1ms is not in whole seconds",
        );
    }
}
