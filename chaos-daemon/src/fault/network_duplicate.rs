//! `network duplicate`: packets come several times.

use chaos_common::{
    abi::{Action, Duplicate},
    fault::{FaultKind, NetworkDuplicate},
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
    duplicate: &NetworkDuplicate,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkDuplicate,
        filter: &duplicate.filter,
        action: Action::Duplicate,
        parameters: Duplicate { copies: duplicate.copies.get() }.words(),
        beside: Beside::Nothing,
        dice: duplicate.share.dice(limits.seed),
        means: Means::Change,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkDuplicate, Means::Change, support)
}
