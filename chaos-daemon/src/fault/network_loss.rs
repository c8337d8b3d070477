//! `network loss`: a rule, then hooks for its directions. A rule without a hook does nothing, and a new
//! hook is live some 10 ms before the kernel says so: this way round the fault begins with the hook.

use chaos_common::{
    abi::NetRule,
    fault::{FaultKind, NetworkFilter, NetworkLoss},
};

use super::{Capability, Limits, Unsupported};
use crate::{
    effect::{Effect, PutRule},
    kernel::{Counting, EgressTier, RuleSpec, Support},
};

const OUT: &str = "direction out";
const IN: &str = "direction in";

pub(super) fn plan(
    loss: &NetworkLoss,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let unsupported = |aspect, reason: &String| Unsupported {
        fault: FaultKind::NetworkLoss,
        aspect,
        reason: reason.clone(),
    };
    let mut effects = vec![Effect::PutRule(PutRule(Box::new(rule(loss, limits))))];
    if loss.filter.direction.includes_out() {
        support.egress.as_ref().map_err(|reason| unsupported(OUT, reason))?;
        effects.push(Effect::HookEgress);
    }
    if loss.filter.direction.includes_in() {
        support.ingress.as_ref().map_err(|reason| unsupported(IN, reason))?;
        effects.push(Effect::HookIngress);
    }
    Ok(effects)
}

fn rule(loss: &NetworkLoss, limits: &Limits) -> RuleSpec {
    let NetworkFilter { direction, remote_ports, local_ports, .. } = &loss.filter;
    let rule = NetRule {
        gate: limits.gate(loss.model.dice(limits.seed)),
        // Written with the rule, by whoever gives it one.
        id: 0,
        directions: direction.to_abi(),
        protocols: loss.filter.protocols_to_abi(),
        remotes: loss.filter.remotes_to_abi() as u32,
        remote_ports: remote_ports.to_abi(),
        local_ports: local_ports.to_abi(),
    };
    RuleSpec { rule, filter: loss.filter.clone() }
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let counting = match support.counting {
        Counting::Exact => "",
        Counting::Close => {
            "this kernel (before 5.12) cannot count exactly across CPUs: a seed's sequence may be off by one place, and `times` be exceeded by one for each CPU"
        }
    };
    let out = support.egress.clone().map(|tier| match tier {
        EgressTier::Tcx => "tcx link on each interface, packets redirected to nowhere".to_owned(),
        EgressTier::Clsact => {
            "clsact filter on each interface, packets redirected to nowhere".to_owned()
        }
    });
    let incoming = support
        .ingress
        .clone()
        .map(|()| "cgroup_skb ingress link on the target's cgroup".to_owned());
    let of = |aspect, support| Capability {
        fault: FaultKind::NetworkLoss,
        aspect,
        support,
        caveat: counting.to_owned(),
    };
    vec![of(OUT, out), of(IN, incoming)]
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::{Direction, LossModel},
        value::Percent,
    };

    use super::*;
    use crate::boot_clock::BootTime;

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    fn support() -> Support {
        Support { egress: Ok(EgressTier::Tcx), ingress: Ok(()), counting: Counting::Exact }
    }

    fn loss(direction: Direction) -> NetworkLoss {
        let filter = NetworkFilter { direction, ..Default::default() };
        NetworkLoss { model: LossModel::Percent(Percent::ALL), filter }
    }

    #[test]
    fn the_rule_comes_before_its_hooks_and_these_only_where_needed() {
        for (direction, hooks) in [
            (Direction::Out, &[Effect::HookEgress][..]),
            (Direction::In, &[Effect::HookIngress]),
            (Direction::Both, &[Effect::HookEgress, Effect::HookIngress]),
        ] {
            let effects = plan(&loss(direction), &LIMITS, &support()).unwrap();
            assert!(matches!(effects[0], Effect::PutRule(_)), "{direction:?}");
            assert_eq!(effects[1..], *hooks, "{direction:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_kernel_s_reason() {
        let support = Support { egress: Err("no tc".into()), ..support() };
        assert!(plan(&loss(Direction::In), &LIMITS, &support).is_ok());
        let refused = plan(&loss(Direction::Both), &LIMITS, &support).unwrap_err();
        assert_eq!(refused.to_string(), "network loss (direction out) is unsupported here: no tc");
    }
}
