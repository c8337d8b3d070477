//! `network reject`: packets are answered instead of delivered.

use chaos_common::{
    abi::{Action, Dice},
    fault::{Answer, FaultKind, NetworkReject},
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
};
use crate::{effect::Effect, kernel::Support};

pub(super) fn plan(
    reject: &NetworkReject,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    // An ICMP error that comes at once finds `connect` still holding its socket.
    let waits = reject.answer != Answer::Reset && support.hold.is_ok();
    Network {
        kind: FaultKind::NetworkReject,
        filter: &reject.filter,
        action: Action::Reject,
        parameters: reject.to_abi().words(),
        shape: None,
        dice: Dice::percent(limits.seed, reject.percent.chance()),
        means: if waits { Means::Hold } else { Means::Answer },
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let mut all = network::capabilities(FaultKind::NetworkReject, Means::Answer, support);
    if let Err(reason) = &support.hold {
        for one in all.iter_mut().filter(|one| one.caveat.is_empty()) {
            one.caveat = format!(
                "a TCP connection to this machine fails of an ICMP answer after a second only, not at once: {reason}"
            );
        }
    }
    all
}
