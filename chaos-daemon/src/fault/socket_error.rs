//! `socket error`: what is done to sockets fails, where the kernel asks its security modules, or where calls that connect
//! pass the target's cgroup.

use chaos_common::{
    abi::{self, Action, CallRule, Condition, Operation, SocketFamily, SocketFilter},
    fault::{Direction, FaultKind, NetworkFilter, Paths, SOCKET_OPERATIONS, SocketError, Sockets},
    invalid::Invalid,
    value::{Cidr, Errno, Remotes},
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
    network::{self, Means, Network},
    network_reject::EPERM_ONLY,
};
use crate::{
    effect::{Effect, ResetOpen},
    kernel::{Refusal, Support, Wanted},
};

const RESET_OPEN: &str = "reset open";
const NO_SUCH_FAMILY: &str = "only calls over IPv4 and IPv6 pass the target's cgroup";
const BY_ADDRESS: &str = "over IPv4 and IPv6 only, whatever program calls";

pub(super) fn plan(
    error: &SocketError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    if found.operations.is_err() && error.operations.has(Operation::Connect) {
        return connecting(error, limits, support);
    }
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
    effects.extend(reset_open(error, limits, support)?);
    Ok(effects)
}

/// Where no security module can be asked: calls that connect pass the target's cgroup as well.
fn connecting(
    error: &SocketError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    let filter = by_address(error, support);
    let mut asked = Asked::default();
    for operation in error.operations.iter() {
        match &filter {
            Ok(_) if operation == Operation::Connect => asked.elsewhere(),
            Err(reason) if operation == Operation::Connect => {
                asked.lacks(operation.word(), reason.clone());
            }
            Ok(_) | Err(_) => asked.operation(operation, found),
        }
    }
    let others = SocketFamily::Unix as u32 | SocketFamily::Other as u32;
    if filter.is_ok() && error.sockets.families.bits() & others != 0 {
        asked.lacks("families other than ipv4 and ipv6", NO_SUCH_FAMILY.to_owned());
    }
    asked.settle(FaultKind::SocketError, error.partial)?;
    let filter = filter.map_err(|reason| unsupported(Operation::Connect.word(), reason))?;
    let mut effects = Network {
        kind: FaultKind::SocketError,
        filter: &filter,
        action: Action::Refuse,
        parameters: abi::Refuse { errno: error.errno.number().into(), only_connects: 1 }.words(),
        shape: None,
        dice: error.occasion.dice(limits.seed),
        means: Means::Attempt,
    }
    .plan(limits, support)?;
    effects.extend(reset_open(error, limits, support)?);
    Ok(effects)
}

/// The same sockets by what is known of a call before there is a packet, or why that will not do.
fn by_address(error: &SocketError, support: &Support) -> Result<NetworkFilter, String> {
    let refusal = connects(support)?;
    if refusal == Refusal::Permission && error.errno != Errno::EPERM {
        return Err(format!("{EPERM_ONLY}, not with {}; give EPERM", error.errno));
    }
    if !error.caller.is_anyone() {
        return Err("there nothing tells which program or thread calls; leave `caller` out".into());
    }
    let Sockets { remote, except, ports, families, protocols } = &error.sockets;
    let of_ip = |cidr: &Cidr| families.is_any() || families.bits() & cidr.family() as u32 != 0;
    let remote: Vec<Cidr> = if families.is_any() || !remote.is_empty() {
        remote.iter().filter(of_ip).collect()
    } else {
        Cidr::EVERYTHING.into_iter().filter(of_ip).collect()
    };
    if remote.is_empty() && !families.is_any() {
        return Err(NO_SUCH_FAMILY.into());
    }
    Ok(NetworkFilter {
        direction: Some(Direction::Out),
        remote: remote.try_into().map_err(|invalid: Invalid| invalid.problem)?,
        except: except.clone(),
        remote_ports: ports.clone(),
        protocols: protocols.clone(),
        ..NetworkFilter::default()
    })
}

/// Whether calls that connect can fail by programs on the target's cgroup, and how.
fn connects(support: &Support) -> Result<Refusal, String> {
    let operations = support.calls.get().operations.as_ref();
    let why = operations.err().map_or("", String::as_str);
    support.attempts.clone().map_err(|reason| format!("{why}; cgroup_sock_addr: {reason}"))
}

fn reset_open(
    error: &SocketError,
    limits: &Limits,
    support: &Support,
) -> Result<Option<Effect>, Unsupported> {
    if !error.reset_open {
        return Ok(None);
    }
    support.reset.clone().map_err(|reason| unsupported(RESET_OPEN, reason))?;
    let sockets = &error.sockets;
    let filter = NetworkFilter {
        direction: Some(Direction::Both),
        remote: sockets.remote.clone(),
        except: sockets.except.clone(),
        remote_ports: sockets.ports.clone(),
        ..NetworkFilter::default()
    };
    // Last, so that who notices and connects again meets the rule.
    Ok(Some(Effect::ResetOpen(ResetOpen(Box::new(Wanted { filter, seed: limits.seed })))))
}

fn unsupported(aspect: &'static str, reason: String) -> Unsupported {
    Unsupported { fault: FaultKind::SocketError, aspect, reason }
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |operation| {
        let capability = call::capability(FaultKind::SocketError, operation, support);
        if capability.support.is_ok() || operation != Operation::Connect {
            return capability;
        }
        let support_here = connects(support);
        let permission = (support_here == Ok(Refusal::Permission)).then_some(EPERM_ONLY);
        let caveats = [Some(BY_ADDRESS), permission, network::counting(support)];
        Capability {
            support: support_here.map(|_| "cgroup_sock_addr links on the target's cgroup".into()),
            caveats: caveats.into_iter().flatten().map(Into::into).collect(),
            ..capability
        }
    };
    let mut all: Vec<Capability> = SOCKET_OPERATIONS.into_iter().map(of).collect();
    all.push(Capability {
        fault: FaultKind::SocketError,
        aspect: RESET_OPEN,
        support: support.reset.clone().map(|()| "sock_diag ends the target's sockets".into()),
        caveats: Vec::new(),
    });
    all
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::{
        boot_clock::BootTime,
        kernel::{CallSupport, Found},
    };

    fn planned(fields: &str, support: &Support) -> Result<Vec<String>, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{socketError: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        let Fault::SocketError(error) = &specs[0].fault else { panic!("another fault") };
        let limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };
        let effects = plan(error, &limits, support).map_err(|refused| refused.to_string())?;
        Ok(effects.iter().map(ToString::to_string).collect())
    }

    fn without_hooks() -> Support {
        Support { calls: CallSupport::known(Found::no_operations()), ..Support::full() }
    }

    #[test]
    fn connecting_fails_on_the_cgroup_where_nothing_else_can() {
        let fields = "operations: [connect], errno: ETIMEDOUT, remote: [10.0.0.5, 'fd00::1'], families: [ipv4], ports: [80], percent: 20";
        let best = planned(fields, &Support::full()).unwrap();
        assert_eq!(best[1], "attach programs where the kernel asks about connect");
        let steps = planned(fields, &without_hooks()).unwrap();
        assert!(steps[0].contains("10.0.0.5") && !steps[0].contains("fd00::1"), "{steps:?}");
        assert!(steps[0].ends_with("fires with 20.0000 %"), "{steps:?}");
        assert!(steps[1].contains("net_connect4"), "{steps:?}");
        let any =
            planned("operations: [connect], errno: EPERM, families: [ipv6]", &without_hooks());
        assert!(any.unwrap()[0].contains("::/0"));
    }

    #[test]
    fn what_is_not_known_there_is_refused() {
        let refused = |fields: &str| planned(fields, &without_hooks()).unwrap_err();
        let said = refused("operations: [connect, listen], errno: EPERM");
        assert!(said.contains("listen: no hooks (with `partial` all else is done)"), "{said}");
        let partly = "operations: [connect, listen], errno: EPERM, partial: true";
        assert!(planned(partly, &without_hooks()).unwrap()[1].contains("net_connect4"));
        let said = refused("operations: [connect], errno: EPERM, families: [unix]");
        assert!(said.contains("only calls over IPv4 and IPv6"), "{said}");
        let said = refused("operations: [connect], errno: EPERM, caller: {comm: x}");
        assert!(said.contains("leave `caller` out"), "{said}");
        let old = Support { attempts: Ok(Refusal::Permission), ..without_hooks() };
        let said = planned("operations: [connect], errno: EIO", &old).unwrap_err();
        assert!(said.contains("EPERM only"), "{said}");
    }
}
