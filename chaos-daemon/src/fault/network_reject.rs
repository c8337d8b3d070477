//! `network reject`: packets are answered instead of delivered, or calls fail before there are any.

use chaos_common::{
    abi::{self, Action, Dice, Operation, PARAMETERS},
    fault::{Answer, FaultKind, NetworkReject, With},
    value::Errno,
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
};
use crate::{
    effect::{Effect, ResetOpen},
    kernel::{Beside, Refusal, Support, Wanted},
};

/// How long an ICMP answer to the first packet of a connection takes: until `connect` has let go of its socket, which
/// else takes note of the error only when it has tried again, a second later (`sock_owned_by_user` in `tcp_v4_err`).
const WAIT_NS: u64 = 1_000_000;

const CONNECT: &str = "connect";
const RESET_OPEN: &str = "reset open";
pub(super) const EPERM_ONLY: &str =
    "this kernel lets calls fail with EPERM only (any errno from Linux 6.1 on)";

pub(super) fn plan(
    reject: &NetworkReject,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let (action, parameters, means) = match reject.with {
        With::Answer(answer) => answering(answer, support),
        With::ResetOpen => answering(Answer::Reset, support),
        With::Connect(errno) => {
            if support.attempts == Ok(Refusal::Permission) && errno != Errno::EPERM {
                let reason = format!("{EPERM_ONLY}, not with {errno}; give EPERM");
                return Err(unsupported(CONNECT, reason));
            }
            let operations = Operation::Connect.bit() | Operation::Send.bit();
            let refuse = abi::Refuse { errno: errno.number().into(), operations };
            (Action::Refuse, refuse.words(), Means::Attempt)
        }
    };
    let mut effects = Network {
        kind: FaultKind::NetworkReject,
        filter: &reject.filter,
        action,
        parameters,
        beside: Beside::Nothing,
        dice: Dice::percent(limits.seed, reject.percent.chance()),
        means,
    }
    .plan(limits, support)?;
    if reject.with == With::ResetOpen {
        if let Some(peer) = reject.filter.neighbours.first() {
            let reason = format!(
                "{peer} is in a network namespace of the target, and its connections are not told from others; give its ports (`remotePorts`) instead"
            );
            return Err(unsupported(RESET_OPEN, reason));
        }
        support.reset.clone().map_err(|reason| unsupported(RESET_OPEN, reason))?;
        let wanted = Wanted { filter: reject.filter.clone(), seed: limits.seed };
        // First, as the rule is about the resets that go out too.
        effects.insert(0, Effect::ResetOpen(ResetOpen(Box::new(wanted))));
    }
    Ok(effects)
}

fn answering(answer: Answer, support: &Support) -> (Action, [u64; PARAMETERS], Means) {
    let waits = answer != Answer::Reset && support.hold.is_ok();
    let parameters =
        abi::Reject { answer: answer.to_abi() as u64, wait_ns: if waits { WAIT_NS } else { 0 } };
    (Action::Reject, parameters.words(), if waits { Means::Hold } else { Means::Answer })
}

fn unsupported(aspect: &'static str, reason: String) -> Unsupported {
    Unsupported { fault: FaultKind::NetworkReject, aspect, reason }
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let mut all = network::capabilities(FaultKind::NetworkReject, Means::Answer, support);
    if let Err(reason) = &support.hold {
        for one in &mut all {
            one.caveats.push(format!(
                "a TCP connection to this machine fails of an ICMP answer after a second only, not at once: {reason}"
            ).into());
        }
    }
    let permission = (support.attempts == Ok(Refusal::Permission)).then_some(EPERM_ONLY);
    let counting = network::counting(support);
    all.push(Capability {
        fault: FaultKind::NetworkReject,
        aspect: CONNECT,
        support: support
            .attempts
            .clone()
            .map(|_| "cgroup_sock_addr links on the target's cgroup".into()),
        caveats: [permission, counting].into_iter().flatten().map(Into::into).collect(),
    });
    all.push(Capability {
        fault: FaultKind::NetworkReject,
        aspect: RESET_OPEN,
        support: support.reset.clone().map(|()| "sock_diag ends the target's sockets".into()),
        caveats: Vec::new(),
    });
    all
}

#[cfg(test)]
mod tests {
    use chaos_common::fault::{Direction, NetworkFilter};

    use super::*;
    use crate::{boot_clock::BootTime, kernel::Passing};

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    fn support(attempts: Refusal) -> Support {
        Support { attempts: Ok(attempts), ..Support::full() }
    }

    fn connect(errno: &str) -> NetworkReject {
        let with = With::Connect(errno.parse().unwrap());
        NetworkReject::new(with, None, Default::default()).unwrap()
    }

    #[test]
    fn an_old_kernel_knows_eperm_only() {
        let old = support(Refusal::Permission);
        assert_eq!(
            plan(&connect("EPERM"), &LIMITS, &old).unwrap()[1..],
            [Effect::HookCgroup(Passing::Connecting)]
        );
        let refused = plan(&connect("ETIMEDOUT"), &LIMITS, &old).unwrap_err().to_string();
        assert!(
            refused.contains("(connect) is unsupported here") && refused.ends_with("give EPERM")
        );
        let new = support(Refusal::AnyErrno);
        assert_eq!(
            plan(&connect("ETIMEDOUT"), &LIMITS, &new).unwrap()[1..],
            [Effect::HookCgroup(Passing::Connecting)]
        );
    }
    #[test]
    fn what_is_open_is_reset_before_the_rule_would_answer_the_resets() {
        let filter = NetworkFilter { direction: Some(Direction::Both), ..Default::default() };
        let reject = NetworkReject::new(With::ResetOpen, None, filter).unwrap();
        let steps = |support: &Support| {
            let steps = plan(&reject, &LIMITS, support)?.into_iter().map(|step| step.to_string());
            Ok::<Vec<_>, Unsupported>(steps.collect())
        };
        let new = support(Refusal::AnyErrno);
        let steps_here = steps(&new).unwrap();
        assert_eq!(steps_here[0], "reset the TCP connections that the target has open, once: both");
        assert!(steps_here[1].starts_with("put a rule: both"), "{steps_here:?}");
        assert_eq!(steps_here.len(), 4, "{steps_here:?}");
        let old = Support { reset: Err("no such thing".into()), ..new };
        let refused = steps(&old).unwrap_err().to_string();
        assert_eq!(refused, "network reject (reset open) is unsupported here: no such thing");
        assert!(plan(&connect("EPERM"), &LIMITS, &old).is_ok());
    }
}
