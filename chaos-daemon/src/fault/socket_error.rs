//! `socket error`: what is done to sockets fails, where the kernel asks its security modules, or where some of it passes
//! the target's cgroup.

use std::collections::BTreeSet;

use chaos_common::{
    abi::{self, Action, CallRule, Condition, NetRule, Operation, SocketFamily, SocketFilter},
    fault::{
        Direction, FaultKind, NetworkFilter, Paths, Protocol, SOCKET_OPERATIONS, SocketError,
        Sockets,
    },
    invalid::Invalid,
    value::{Errno, Remotes},
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
    network,
    network_reject::EPERM_ONLY,
};
use crate::{
    effect::{Effect, PutRule, ResetOpen},
    kernel::{About, Beside, Passing, Refusal, RuleSpec, Support, Wanted},
};

const RESET_OPEN: &str = "reset open";
const NO_SUCH_FAMILY: &str = "only calls over IPv4 and IPv6 pass the target's cgroup";
const NO_SUCH_PROTOCOL: &str = "such calls do not pass the target's cgroup";
const BY_ADDRESS: &str = "over IPv4 and IPv6 only, whatever program calls";
/// What of sending is not met there.
const ALL_BUT_NAMED: &str = "send (but for datagrams of UDP that name their receiver)";

/// What passes the target's cgroup, and which of it.
const ON_CGROUP: [(Operation, Passing, &str); 3] = [
    (
        Operation::Connect,
        Passing::Connecting,
        "of TCP and UDP, and from Linux 6.1 on of sockets that ping",
    ),
    (Operation::Bind, Passing::Binding, "of TCP and UDP"),
    (
        Operation::Send,
        Passing::Connecting,
        "only datagrams of UDP that name their receiver, so only with `partial`",
    ),
];

pub(super) fn plan(
    error: &SocketError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    if found.operations.is_err() {
        return attempts(error, limits, support);
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

/// Where no security module can be asked: some calls pass the target's cgroup as well.
fn attempts(
    error: &SocketError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    let filter = by_address(error, support);
    let protocols = &error.sockets.protocols;
    let mut asked = Asked::default();
    let mut chosen = BTreeSet::new();
    for operation in error.operations.iter() {
        let Some((passing, _)) = on_cgroup(operation) else {
            asked.operation(operation, found);
            continue;
        };
        if let Err(reason) = &filter {
            asked.lacks(operation.word(), reason.clone());
            continue;
        }
        let (met, unmet): (Vec<Protocol>, Vec<Protocol>) =
            protocols.iter().partition(|protocol| passes(operation, **protocol, support));
        for protocol in unmet {
            let name = format!("{} over {protocol}", operation.word());
            asked.lacks(&name, NO_SUCH_PROTOCOL.to_owned());
        }
        if protocols.is_empty() || !met.is_empty() {
            if operation == Operation::Send {
                asked.lacks(ALL_BUT_NAMED, no_hooks(support));
            }
            asked.elsewhere();
            chosen.insert((operation, passing));
        }
    }
    let others = SocketFamily::Unix as u32 | SocketFamily::Other as u32;
    if filter.is_ok() && error.sockets.families.bits() & others != 0 {
        asked.lacks("families other than ipv4 and ipv6", NO_SUCH_FAMILY.to_owned());
    }
    let (_, missing) = asked.settle(FaultKind::SocketError, error.partial)?;
    let filter = filter.map_err(|reason| unsupported("calls", reason))?;
    let operations = chosen.iter().fold(0, |bits, (operation, _)| bits | operation.bit());
    let refuse = abi::Refuse { errno: error.errno.number().into(), operations };
    let rule = NetRule {
        gate: limits.gate(error.occasion.dice(limits.seed)),
        // Written with the rule, by whoever gives it one.
        id: 0,
        action: Action::Refuse as u32,
        filter: filter.to_abi(),
        parameters: refuse.words(),
    };
    let said = format!("{} {}{}", error.errno, error.operations, error.sockets);
    let about = About::Calls(Box::new(filter), said, missing);
    let mut effects =
        vec![Effect::PutRule(PutRule(Box::new(RuleSpec { rule, about, beside: Beside::Nothing })))];
    let hooks: BTreeSet<Passing> = chosen.into_iter().map(|(_, passing)| passing).collect();
    effects.extend(hooks.into_iter().map(Effect::HookCgroup));
    effects.extend(reset_open(error, limits, support)?);
    Ok(effects)
}

/// Where calls that do this pass the target's cgroup, if they do, and which of them.
fn on_cgroup(operation: Operation) -> Option<(Passing, &'static str)> {
    let known = ON_CGROUP.into_iter().find(|(known, ..)| *known == operation);
    known.map(|(_, passing, which)| (passing, which))
}

/// Whether those of a protocol do.
fn passes(operation: Operation, protocol: Protocol, support: &Support) -> bool {
    match protocol {
        Protocol::Udp => true,
        Protocol::Tcp => operation != Operation::Send,
        // Of sockets that ping, and that came with Linux 6.1, as all errnos did.
        Protocol::Icmp => {
            operation == Operation::Connect && support.attempts == Ok(Refusal::AnyErrno)
        }
    }
}

/// The same sockets by what is known of a call before there is a packet, or why that will not do.
fn by_address(error: &SocketError, support: &Support) -> Result<NetworkFilter, String> {
    let refusal = refusal(support)?;
    if refusal == Refusal::Permission && error.errno != Errno::EPERM {
        return Err(format!("{EPERM_ONLY}, not with {}; give EPERM", error.errno));
    }
    if !error.caller.is_anyone() {
        return Err("there nothing tells which program or thread calls; leave `caller` out".into());
    }
    let sockets = &error.sockets;
    if sockets.remotes().is_empty() && !sockets.families.is_any() {
        return Err(NO_SUCH_FAMILY.into());
    }
    let protocols = sockets.protocols.clone();
    Ok(NetworkFilter { protocols, ..filter(sockets, Direction::Out)? })
}

/// The other ends that are meant.
fn filter(sockets: &Sockets, direction: Direction) -> Result<NetworkFilter, String> {
    Ok(NetworkFilter {
        direction: Some(direction),
        remote: sockets.remotes().try_into().map_err(|invalid: Invalid| invalid.problem)?,
        except: sockets.except.clone(),
        remote_ports: sockets.ports.clone(),
        ..NetworkFilter::default()
    })
}

/// Whether calls can fail by programs on the target's cgroup, and how.
fn refusal(support: &Support) -> Result<Refusal, String> {
    let refusal = support.attempts.clone();
    refusal.map_err(|reason| format!("{}; cgroup_sock_addr: {reason}", no_hooks(support)))
}

/// Why no security module can be asked.
fn no_hooks(support: &Support) -> String {
    support.calls.get().operations.as_ref().err().cloned().unwrap_or_default()
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
    let filter = filter(&error.sockets, Direction::Both)
        .map_err(|reason| unsupported(RESET_OPEN, reason))?;
    // Last, so that who notices and connects again meets the rule.
    Ok(Some(Effect::ResetOpen(ResetOpen(Box::new(Wanted { filter, seed: limits.seed })))))
}

fn unsupported(aspect: &'static str, reason: String) -> Unsupported {
    Unsupported { fault: FaultKind::SocketError, aspect, reason }
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |operation| {
        let capability = call::capability(FaultKind::SocketError, operation, support);
        let here = support.calls.get().operations.is_err().then(|| on_cgroup(operation));
        let Some((_, which)) = here.flatten() else { return capability };
        let refusal = refusal(support);
        let permission = (refusal == Ok(Refusal::Permission)).then_some(EPERM_ONLY);
        let caveats = [Some(which), Some(BY_ADDRESS), permission, network::counting(support)];
        Capability {
            support: refusal.map(|_| "cgroup_sock_addr links on the target's cgroup".into()),
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

    fn effects(fields: &str, support: &Support) -> Result<Vec<Effect>, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{socketError: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        let Fault::SocketError(error) = &specs[0].fault else { panic!("another fault") };
        let limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };
        plan(error, &limits, support).map_err(|refused| refused.to_string())
    }

    fn planned(fields: &str, support: &Support) -> Result<Vec<String>, String> {
        let effects = effects(fields, support)?;
        Ok(effects.iter().map(ToString::to_string).collect())
    }

    fn without_hooks() -> Support {
        Support { calls: CallSupport::known(Found::no_operations()), ..Support::full() }
    }

    fn old() -> Support {
        Support { attempts: Ok(Refusal::Permission), ..without_hooks() }
    }

    /// The rule, and what carries it out.
    fn rule(fields: &str, support: &Support) -> (RuleSpec, Vec<Effect>) {
        let mut effects = effects(fields, support).unwrap();
        let Effect::PutRule(PutRule(rule)) = effects.remove(0) else { panic!("no rule: {fields}") };
        (*rule, effects)
    }

    #[test]
    fn calls_fail_on_the_cgroup_where_nothing_else_can() {
        let fields = "operations: [connect], errno: ETIMEDOUT, remote: [10.0.0.5, 'fd00::1'], families: [ipv4], ports: [80], percent: 20";
        let best = planned(fields, &Support::full()).unwrap();
        assert_eq!(best[1], "attach programs where the kernel asks about connect");
        let (spec, hooks) = rule(fields, &without_hooks());
        let About::Calls(filter, ..) = &spec.about else { panic!("{spec:?}") };
        assert_eq!(filter.remote.to_string(), "10.0.0.5");
        assert_eq!(hooks, [Effect::HookCgroup(Passing::Connecting)]);
        let steps = planned(fields, &without_hooks()).unwrap();
        let said = "put a rule: ETIMEDOUT connect, of ipv4, with 10.0.0.5,fd00::1, ports 80; fires with 20.0000 %";
        assert_eq!(steps[0], said);
        let (spec, _) =
            rule("operations: [connect], errno: EPERM, families: [ipv6]", &without_hooks());
        let About::Calls(filter, ..) = &spec.about else { panic!("{spec:?}") };
        assert_eq!(filter.remote.to_string(), "::/0");
    }

    #[test]
    fn one_rule_is_about_all_that_is_done() {
        use Operation::{Bind, Connect, Send};
        const BINDING: Effect = Effect::HookCgroup(Passing::Binding);
        const CONNECTING: Effect = Effect::HookCgroup(Passing::Connecting);
        for (operations, bits, hooks) in [
            ("bind", Bind.bit(), vec![BINDING]),
            ("send", Send.bit(), vec![CONNECTING]),
            ("send, connect", Send.bit() | Connect.bit(), vec![CONNECTING]),
            ("connect, bind", Bind.bit() | Connect.bit(), vec![CONNECTING, BINDING]),
            (
                "bind, send, connect, listen",
                Bind.bit() | Send.bit() | Connect.bit(),
                vec![CONNECTING, BINDING],
            ),
        ] {
            let fields = format!("operations: [{operations}], errno: EIO, partial: true");
            let (spec, planned) = rule(&fields, &without_hooks());
            let refuse = abi::Refuse::of(&spec.rule.parameters);
            assert_eq!((refuse.errno, refuse.operations), (5, bits), "{operations}");
            assert_eq!(planned, hooks, "{operations}");
        }
    }

    #[test]
    fn of_sending_only_a_part_is_done_and_that_only_if_asked() {
        let part = "send (but for datagrams of UDP that name their receiver): no hooks";
        let refused = planned("operations: [send], errno: EPERM", &without_hooks()).unwrap_err();
        let said = format!(
            "socket error (calls) is unsupported here: {part} (with `partial` all else is done)"
        );
        assert_eq!(refused, said);
        let partly = "operations: [send], errno: EPERM, partial: true";
        let steps = planned(partly, &without_hooks()).unwrap();
        assert!(steps[0].contains(&format!("EPERM send (without {part})")), "{steps:?}");
        let of_tcp = format!("{partly}, protocols: [tcp]");
        let refused = planned(&of_tcp, &without_hooks()).unwrap_err();
        assert!(refused.ends_with("send over tcp: such calls do not pass the target's cgroup"));
    }

    #[test]
    fn what_is_not_known_there_is_refused() {
        let refused = |fields: &str| planned(fields, &without_hooks()).unwrap_err();
        for operation in ["connect", "bind"] {
            let said = refused(&format!("operations: [{operation}, listen], errno: EPERM"));
            assert!(said.contains("listen: no hooks (with `partial` all else is done)"), "{said}");
            let said =
                refused(&format!("operations: [{operation}], errno: EPERM, families: [unix]"));
            assert!(said.contains("only calls over IPv4 and IPv6"), "{said}");
            let fields = format!("operations: [{operation}], errno: EPERM, caller: {{comm: x}}");
            let said = refused(&fields);
            assert!(said.contains("leave `caller` out"), "{said}");
        }
        for operation in ["socket", "listen", "accept", "receive"] {
            let fields = format!("operations: [{operation}], errno: EPERM, partial: true");
            let said = refused(&fields);
            assert!(said.ends_with(&format!("{operation}: no hooks")), "{said}");
        }
    }

    #[test]
    fn what_pings_connects_and_does_no_more() {
        let icmp = |operation: &str| {
            format!("operations: [{operation}], errno: EPERM, protocols: [tcp, icmp]")
        };
        assert!(planned(&icmp("connect"), &without_hooks()).is_ok());
        let said = planned(&icmp("bind"), &without_hooks()).unwrap_err();
        assert!(said.contains("bind over icmp: such calls"), "{said}");
        let said = planned(&icmp("connect"), &old()).unwrap_err();
        assert!(said.contains("connect over icmp: such calls"), "{said}");
        let partly = planned(&format!("{}, partial: true", icmp("bind")), &without_hooks());
        assert_eq!(partly.unwrap().len(), 2);
    }

    #[test]
    fn an_old_kernel_knows_one_errno() {
        for operation in ["connect", "bind"] {
            let with = |errno: &str| {
                planned(&format!("operations: [{operation}], errno: {errno}"), &old())
            };
            let said = with("EIO").unwrap_err();
            assert!(said.contains("EPERM only"), "{said}");
            assert!(with("EPERM").is_ok());
        }
    }

    #[test]
    fn the_doctor_says_what_is_met() {
        let lines = capabilities(&old());
        for (aspect, which) in [
            ("bind", "of TCP and UDP"),
            ("connect", "of TCP and UDP, and"),
            ("send", "only datagrams of UDP that name their receiver, so only with `partial`"),
        ] {
            let line = lines.iter().find(|line| line.aspect == aspect).unwrap();
            assert!(line.support.is_ok() && line.caveats[0].starts_with(which), "{line:?}");
            assert!(line.caveats.iter().any(|caveat| caveat == BY_ADDRESS), "{line:?}");
            assert!(line.caveats.iter().any(|caveat| caveat == EPERM_ONLY), "{line:?}");
        }
        for aspect in ["socket", "listen", "accept", "receive"] {
            let line = lines.iter().find(|line| line.aspect == aspect).unwrap();
            assert_eq!(line.support, Err("no hooks".into()), "{line:?}");
        }
        let best = capabilities(&Support::full());
        assert!(best.iter().all(|line| !line.caveats.iter().any(|caveat| caveat == BY_ADDRESS)));
    }
}
