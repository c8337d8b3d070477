//! `network reject`: packets are answered instead of delivered, or calls fail before there are any.

use chaos_common::{
    abi::{self, Action, Dice},
    fault::{Answer, FaultKind, NetworkReject, With},
    value::Errno,
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
};
use crate::{
    effect::Effect,
    kernel::{Refusal, Support},
};

/// How long an ICMP answer to the first packet of a connection takes: until `connect` has let go of its socket, which
/// else takes note of the error only when it has tried again, a second later (`sock_owned_by_user` in `tcp_v4_err`).
const WAIT_NS: u64 = 1_000_000;

const CONNECT: &str = "connect";
const EPERM_ONLY: &str =
    "this kernel lets calls fail with EPERM only (any errno from Linux 6.1 on)";

pub(super) fn plan(
    reject: &NetworkReject,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let (action, parameters, means) = match reject.with {
        With::Answer(answer) => {
            let waits = answer != Answer::Reset && support.hold.is_ok();
            let parameters = abi::Reject {
                answer: answer.to_abi() as u64,
                wait_ns: if waits { WAIT_NS } else { 0 },
            }
            .words();
            (Action::Reject, parameters, if waits { Means::Hold } else { Means::Answer })
        }
        With::Connect(errno) => {
            if support.attempts == Ok(Refusal::Permission) && errno != Errno::EPERM {
                let (fault, aspect) = (FaultKind::NetworkReject, CONNECT);
                let reason = format!("{EPERM_ONLY}, not with {errno}; give EPERM");
                return Err(Unsupported { fault, aspect, reason });
            }
            let parameters = abi::Refuse { errno: errno.number().into() }.words();
            (Action::Refuse, parameters, Means::Attempt)
        }
    };
    Network {
        kind: FaultKind::NetworkReject,
        filter: &reject.filter,
        action,
        parameters,
        shape: None,
        dice: Dice::percent(limits.seed, reject.percent.chance()),
        means,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let mut all = network::capabilities(FaultKind::NetworkReject, Means::Answer, support);
    let counting = all.first().map(|one| one.caveat.clone()).unwrap_or_default();
    if let Err(reason) = &support.hold {
        for one in all.iter_mut().filter(|one| one.caveat.is_empty()) {
            one.caveat = format!(
                "a TCP connection to this machine fails of an ICMP answer after a second only, not at once: {reason}"
            );
        }
    }
    let caveat = match support.attempts {
        Ok(Refusal::Permission) if counting.is_empty() => EPERM_ONLY.to_owned(),
        Ok(Refusal::Permission) => format!("{EPERM_ONLY}; {counting}"),
        Ok(Refusal::AnyErrno) | Err(_) => counting,
    };
    all.push(Capability {
        fault: FaultKind::NetworkReject,
        aspect: CONNECT,
        support: support
            .attempts
            .clone()
            .map(|_| "cgroup_sock_addr links on the target's cgroup".into()),
        caveat,
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        boot_clock::BootTime,
        kernel::{Counting, EgressTier, HoldTier, Passing},
    };

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    fn support(attempts: Refusal) -> Support {
        Support {
            egress: Ok(EgressTier::Tcx),
            hold: Ok(HoldTier::Fq),
            spoil: Ok(()),
            ingress: Ok(()),
            attempts: Ok(attempts),
            arrival: Ok(()),
            counting: Counting::Exact,
        }
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
}
