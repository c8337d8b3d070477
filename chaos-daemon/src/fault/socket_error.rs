//! `socket error`: what is done to sockets fails, where the kernel asks its security modules.

use chaos_common::{
    abi::{CallRule, Condition, SocketFilter},
    fault::{Direction, FaultKind, NetworkFilter, Paths, SOCKET_OPERATIONS, SocketError},
    value::Remotes,
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
};
use crate::{
    effect::{Effect, ResetOpen},
    kernel::{Support, Wanted},
};

const RESET_OPEN: &str = "reset open";

pub(super) fn plan(
    error: &SocketError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    let mut asked = Asked::default();
    for operation in error.operations.iter() {
        asked.operation(operation, found);
    }
    let chosen = asked.settle(FaultKind::SocketError, error.partial)?;
    let sockets = &error.sockets;
    let rule = CallRule {
        conditions: if sockets.is_any() { 0 } else { Condition::Socket as u32 },
        socket: SocketFilter {
            families: sockets.families.bits(),
            protocols: sockets.protocols.iter().fold(0, |bits, one| bits | one.to_abi()),
            remotes: Remotes::to_abi(!sockets.remote.is_empty(), &sockets.except) as u32,
            padding: 0,
            ports: sockets.ports.to_abi(),
        },
        ..CallRule::default()
    };
    let rule = Rule {
        errno: Some(error.errno),
        paths: &Paths::default(),
        caller: &error.caller,
        occasion: &error.occasion,
        rule,
        remotes: (sockets.remote.clone(), sockets.except.clone()),
        about: format!("{} {}{sockets}", error.errno, error.operations),
    };
    let mut effects = rule.effects(chosen, limits);
    if error.reset_open {
        support.reset.clone().map_err(|reason| Unsupported {
            fault: FaultKind::SocketError,
            aspect: RESET_OPEN,
            reason,
        })?;
        let filter = NetworkFilter {
            direction: Some(Direction::Both),
            remote: sockets.remote.clone(),
            except: sockets.except.clone(),
            remote_ports: sockets.ports.clone(),
            ..NetworkFilter::default()
        };
        // Last, so that who notices and connects again meets the rule.
        effects.push(Effect::ResetOpen(ResetOpen(Box::new(Wanted { filter, seed: limits.seed }))));
    }
    Ok(effects)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |operation| call::capability(FaultKind::SocketError, operation, support);
    let mut all: Vec<Capability> = SOCKET_OPERATIONS.into_iter().map(of).collect();
    all.push(Capability {
        fault: FaultKind::SocketError,
        aspect: RESET_OPEN,
        support: support.reset.clone().map(|()| "sock_diag ends the target's sockets".into()),
        caveats: Vec::new(),
    });
    all
}
