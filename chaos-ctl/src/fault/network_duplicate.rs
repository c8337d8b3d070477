//! `network duplicate`

use chaos_common::{
    fault::{Copies, Fault, NetworkDuplicate},
    invalid::Invalid,
    value::{Percent, Share},
};

use super::{above_zero, network_filter::FilterFlags, of_flag};

/// Packets arrive several times
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Packets arrive several times", next_help_heading = "What")]
pub(super) struct Flags {
    /// Each packet comes again with this chance: more than 0, at most 100
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Percent,

    /// How much a packet's luck is that of the one before: 0 to less than 100
    ///
    /// The correlation of neighbours. Packets that come again stand closer together, and are as many
    /// as before.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    correlation: Option<Percent>,

    /// How many come besides the packet itself: 1 to 8 [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    copies: Option<Copies>,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        Ok(Self::NetworkDuplicate(NetworkDuplicate {
            share: Share::new(flags.percent, flags.correlation).map_err(of_flag)?,
            copies: flags.copies.unwrap_or(Copies::ONE),
            filter: flags.filter.try_into()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        assert_eq!(
            parse("network duplicate --percent 5").unwrap().to_string(),
            "network duplicate 5 %, out"
        );
        let all = "network duplicate --percent 5 --correlation 50 --copies 3 --direction in";
        assert_eq!(
            parse(all).unwrap().to_string(),
            "network duplicate 5 % (correlation 50 %), 3 copies, in"
        );
    }

    #[test]
    fn what_would_do_nothing_is_refused() {
        for (flags, words) in [
            ("", "--percent <PERCENT>"),
            ("--percent 0", "0 % would do nothing"),
            ("--percent 1 --correlation 100", "--correlation: with 100 the first packet"),
            ("--percent 1 --copies 0", "give 1 to 8"),
            ("--percent 1 --copies 9", "give 1 to 8"),
            ("--percent 1 --copies -1", "no number of copies"),
        ] {
            refused(format!("network duplicate {flags}").trim_end(), words);
        }
    }
}
