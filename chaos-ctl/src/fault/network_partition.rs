//! `network partition`

use chaos_common::{
    fault::{Fault, NetworkFilter, NetworkPartition},
    invalid::Invalid,
};
use clap::{Args as _, Command};

use super::{network_filter::FilterFlags, of_flag};

/// Nothing passes between the target and others
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Nothing passes between the target and others")]
pub(super) struct Flags {
    #[command(flatten)]
    filter: FilterFlags,
}

/// The flags, among which the direction has another default than elsewhere.
pub(super) fn define(command: Command) -> Command {
    Flags::augment_args(command).mut_arg("direction", |direction| direction.default_value("both"))
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let filter: NetworkFilter = flags.filter.try_into()?;
        NetworkPartition::try_from(filter).map(Self::NetworkPartition).map_err(of_flag)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parse, refused};

    #[test]
    fn it_is_both_ways_unless_one_is_said() {
        for (flags, said) in [
            ("", "both"),
            (" --direction in", "in"),
            (" --to 10.0.0.5 --port 5432", "both, remote 10.0.0.5, remote ports 5432"),
        ] {
            let fault = parse(&format!("network partition{flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network partition {said}"));
        }
    }

    #[test]
    fn there_is_nothing_to_draw() {
        refused("network partition --percent 1", "unexpected argument");
    }
}
