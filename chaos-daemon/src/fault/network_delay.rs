//! `network delay`: packets arrive later.

use chaos_common::{
    abi::{Action, Dice},
    fault::{FaultKind, NetworkDelay},
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
    delay: &NetworkDelay,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let shape = delay.jitter.as_ref().and_then(|jitter| jitter.distribution.shape());
    Network {
        kind: FaultKind::NetworkDelay,
        filter: &delay.filter,
        action: Action::Hold,
        parameters: delay.hold().words(),
        beside: shape.map_or(Beside::Nothing, Beside::Shape),
        dice: Dice::percent(limits.seed, delay.percent.chance()),
        means: Means::Hold,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkDelay, Means::Hold, support)
}
