//! `network loss`: packets vanish.

use chaos_common::{
    abi::{Action, PARAMETERS},
    fault::{FaultKind, NetworkLoss},
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
    loss: &NetworkLoss,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::NetworkLoss,
        filter: &loss.filter,
        action: Action::Drop,
        parameters: [0; PARAMETERS],
        beside: Beside::Nothing,
        dice: loss.model.dice(limits.seed),
        means: Means::Verdict,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    network::capabilities(FaultKind::NetworkLoss, Means::Verdict, support)
}
