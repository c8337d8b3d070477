//! `network rate`: packets go through a slow line.

use chaos_common::{
    abi::{Action, Chance, Dice},
    fault::{FaultKind, NetworkRate},
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
    rate: &NetworkRate,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkRate,
        filter: &rate.filter,
        action: Action::Rate,
        parameters: rate.to_abi().words(),
        beside: Beside::Nothing,
        dice: Dice::percent(limits.seed, Chance::ALWAYS),
        means: Means::Hold,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkRate, Means::Hold, support)
}
