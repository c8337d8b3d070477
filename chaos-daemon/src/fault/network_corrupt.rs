//! `network corrupt`: bits of packets change.

use chaos_common::{
    abi::Action,
    fault::{Checksum, FaultKind, NetworkCorrupt},
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
};
use crate::{
    effect::Effect,
    kernel::{Beside, Support},
};

pub(super) fn plan(
    corrupt: &NetworkCorrupt,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkCorrupt,
        filter: &corrupt.filter,
        action: Action::Corrupt,
        parameters: corrupt.to_abi().words(),
        beside: Beside::Nothing,
        dice: corrupt.share.dice(limits.seed),
        means: match corrupt.checksum {
            Checksum::Broken => Means::Spoil,
            Checksum::Fixed => Means::Change,
        },
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkCorrupt, Means::Spoil, support)
}
