//! `network corrupt`

use chaos_common::{
    fault::{Bits, Checksum, Fault, NetworkCorrupt, Region},
    invalid::Invalid,
    value::{Percent, Share},
};

use super::{above_zero, network_filter::FilterFlags, of_flag};

/// Bits of packets change on the way
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Bits of packets change on the way", next_help_heading = "What")]
pub(super) struct Flags {
    /// Each packet is changed with this chance: more than 0, at most 100
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Percent,

    /// How much a packet's luck is that of the one before: 0 to less than 100
    ///
    /// The correlation of neighbours. Packets that are changed stand closer together, and are as many
    /// as before.
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    correlation: Option<Percent>,

    /// How many bits, each at a place of its own choice: 1 to 16 [default: 1]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    bits: Option<Bits>,

    /// Where: payload (behind the headers) or headers (that of TCP or UDP)
    #[arg(long, value_name = "REGION", allow_hyphen_values = true, default_value_t)]
    region: Region,

    /// broken: the receiver's kernel notices; fixed: only the application can
    #[arg(long, value_name = "CHECKSUM", allow_hyphen_values = true, default_value_t)]
    checksum: Checksum,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        Ok(Self::NetworkCorrupt(NetworkCorrupt {
            share: Share::new(flags.percent, flags.correlation).map_err(of_flag)?,
            bits: flags.bits.unwrap_or(Bits::ONE),
            region: flags.region,
            checksum: flags.checksum,
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
            parse("network corrupt --percent 1").unwrap().to_string(),
            "network corrupt 1 %, payload, checksum broken, out"
        );
        let all = "network corrupt --percent 1 --correlation 9 --bits 16 --region headers \
                   --checksum fixed --direction both";
        assert_eq!(
            parse(all).unwrap().to_string(),
            "network corrupt 1 % (correlation 9 %), 16 bits, headers, checksum fixed, both"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (flags, words) in [
            ("", "--percent <PERCENT>"),
            ("--percent 0", "0 % would do nothing"),
            ("--percent 1 --correlation 100", "--correlation: with 100 the first packet"),
            ("--percent 1 --bits 0", "give 1 to 16"),
            ("--percent 1 --bits 17", "give 1 to 16"),
            ("--percent 1 --region -x", "give payload or headers"),
            ("--percent 1 --checksum good", "give broken or fixed"),
        ] {
            refused(format!("network corrupt {flags}").trim_end(), words);
        }
    }
}
