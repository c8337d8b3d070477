//! `network reorder`: some packets are held, and others overtake them.

use chaos_common::{
    abi::Action,
    fault::{FaultKind, NetworkReorder},
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
    reorder: &NetworkReorder,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkReorder,
        filter: &reorder.filter,
        action: Action::Hold,
        parameters: reorder.hold().words(),
        beside: Beside::Nothing,
        dice: reorder.model.dice(limits.seed),
        means: Means::Hold,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkReorder, Means::Hold, support)
}
