//! `network partition`: nothing passes.

use chaos_common::{
    abi::{Action, Chance, Dice, PARAMETERS},
    fault::{FaultKind, NetworkPartition},
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
    partition: &NetworkPartition,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkPartition,
        filter: &partition.filter,
        action: Action::Drop,
        parameters: [0; PARAMETERS],
        beside: Beside::Nothing,
        dice: Dice::percent(limits.seed, Chance::ALWAYS),
        means: Means::Verdict,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkPartition, Means::Verdict, support)
}
