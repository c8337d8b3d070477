//! `network occupy`: ports are taken, or calls fail as if they were.

use chaos_common::{
    abi::{self, Action, Dice, NetFilter, NetRule},
    fault::{BindAddress, FaultKind, NetworkOccupy, Occupation},
    value::Percent,
};

use super::{Capability, Limits, Unsupported, network};
use crate::{
    effect::{Effect, HoldPorts, PutRule},
    kernel::{About, Beside, Passing, Refusal, RuleSpec, Support},
};

const REFUSE: &str = "refuse";
const NO_ERRNO: &str = "this kernel lets calls fail with EPERM only, and a port that is taken is EADDRINUSE (any errno from Linux 6.1 on); leave `refuse` out to take the ports";

pub(super) fn plan(
    occupy: &NetworkOccupy,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    match occupy.how {
        Occupation::Hold => Ok(vec![Effect::HoldPorts(HoldPorts(Box::new(occupy.clone())))]),
        Occupation::Refuse(percent) => {
            refusal(support).map_err(|reason| Unsupported {
                fault: FaultKind::NetworkOccupy,
                aspect: REFUSE,
                reason,
            })?;
            let rule = PutRule(Box::new(rule(occupy, percent, limits)));
            Ok(vec![Effect::PutRule(rule), Effect::HookCgroup(Passing::Binding)])
        }
    }
}

fn rule(occupy: &NetworkOccupy, percent: Percent, limits: &Limits) -> RuleSpec {
    let everywhere = abi::Occupy::default();
    let rule = NetRule {
        gate: limits.gate(Dice::percent(limits.seed, percent.chance())),
        // Written with the rule, by whoever gives it one.
        id: 0,
        action: Action::Occupy as u32,
        filter: NetFilter { protocols: occupy.protocols.to_abi(), ..NetFilter::default() },
        parameters: occupy.address.map_or(everywhere, BindAddress::to_abi).words(),
    };
    RuleSpec { rule, about: About::Binding(occupy.clone()), beside: Beside::Nothing }
}

/// Whether calls can fail as they should.
fn refusal(support: &Support) -> Result<(), String> {
    match support.attempts.clone()? {
        Refusal::AnyErrno => Ok(()),
        Refusal::Permission => Err(NO_ERRNO.into()),
    }
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let fault = FaultKind::NetworkOccupy;
    let hold = Capability {
        fault,
        aspect: "ports",
        support: Ok("sockets of the daemon in the target's network namespaces".into()),
        caveats: vec!["hits every process of those namespaces, and ends with the daemon".into()],
    };
    let mechanism = |()| "cgroup_sock_addr links on the target's cgroup".into();
    let refuse = Capability {
        fault,
        aspect: REFUSE,
        support: refusal(support).map(mechanism),
        caveats: network::counting(support).into_iter().map(Into::into).collect(),
    };
    vec![hold, refuse]
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::boot_clock::BootTime;

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    fn support(attempts: Refusal) -> Support {
        Support { attempts: Ok(attempts), ..Support::full() }
    }

    fn occupy(yaml: &str) -> NetworkOccupy {
        let text = format!("{{target: {{pid: 1}}, fault: {{networkOccupy: {yaml}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).unwrap();
        let Fault::NetworkOccupy(occupy) = &specs[0].fault else { unreachable!("{yaml}") };
        occupy.clone()
    }

    fn said(yaml: &str) -> Vec<String> {
        let plan = plan(&occupy(yaml), &LIMITS, &support(Refusal::AnyErrno)).unwrap();
        plan.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_plan_says_what_is_taken_and_where() {
        for (yaml, step) in [
            (
                "{ports: [80, '90-91']}",
                "take the ports tcp 80,90-91 at 0.0.0.0 and :: in every network namespace of the target's processes",
            ),
            (
                "{ports: [53], protocols: [udp, tcp], address: '::1'}",
                "take the ports tcp and udp 53 at ::1 in every network namespace of the target's processes",
            ),
        ] {
            assert_eq!(said(yaml), [step]);
        }
    }

    #[test]
    fn calls_that_fail_are_a_rule_with_a_hook_and_no_port() {
        let hook = "attach `net_bind4` and `net_bind6` to the target's cgroup";
        for (yaml, rule) in [
            ("{ports: [80], refuse: true}", "put a rule: bind to tcp 80; fires with 100.0000 %"),
            (
                "{ports: [53, '90-91'], protocols: [udp, tcp], address: '::1', refuse: true, percent: 5}",
                "put a rule: bind to tcp+udp 53,90-91 at ::1; fires with 5.0000 %",
            ),
        ] {
            assert_eq!(said(yaml), [rule, hook]);
        }
    }

    #[test]
    fn an_old_kernel_can_only_take_ports() {
        let old = support(Refusal::Permission);
        assert!(plan(&occupy("{ports: [80]}"), &LIMITS, &old).is_ok());
        let refused = plan(&occupy("{ports: [80], refuse: true}"), &LIMITS, &old).unwrap_err();
        let refused = refused.to_string();
        assert!(refused.starts_with("network occupy (refuse) is unsupported here"), "{refused}");
        assert!(refused.contains("EPERM only"), "{refused}");
        let told = capabilities(&old);
        assert!(told[0].support.is_ok() && told[1].support.is_err(), "{told:?}");
    }
}
