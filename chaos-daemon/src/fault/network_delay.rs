//! `network delay`: packets arrive later.

use chaos_common::{
    abi::{Action, Dice},
    fault::{FaultKind, NetworkDelay},
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
};
use crate::{effect::Effect, kernel::Support};

pub(super) fn plan(
    delay: &NetworkDelay,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkDelay,
        filter: &delay.filter,
        action: Action::Hold,
        parameters: delay.hold().words(),
        shape: delay.jitter.as_ref().and_then(|jitter| jitter.distribution.shape()),
        dice: Dice::percent(limits.seed, delay.percent.chance()),
        means: Means::Hold,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkDelay, Means::Hold, support)
}
