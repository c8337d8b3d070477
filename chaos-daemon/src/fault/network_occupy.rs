//! `network occupy`: ports are taken.

use chaos_common::fault::{FaultKind, NetworkOccupy};

use super::Capability;
use crate::effect::{Effect, HoldPorts};

pub(super) fn plan(occupy: &NetworkOccupy) -> Vec<Effect> {
    vec![Effect::HoldPorts(HoldPorts(Box::new(occupy.clone())))]
}

pub(super) fn capabilities() -> Vec<Capability> {
    vec![Capability {
        fault: FaultKind::NetworkOccupy,
        aspect: "ports",
        support: Ok("sockets of the daemon in the target's network namespaces".into()),
        caveat: "hits every process of those namespaces, and ends with the daemon".into(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_what_is_taken_and_where() {
        for (yaml, said) in [
            (
                "{ports: [80, '90-91']}",
                "take the ports tcp 80,90-91 at 0.0.0.0 and :: in every network namespace of the target's processes",
            ),
            (
                "{ports: [53], protocols: [udp, tcp], address: '::1'}",
                "take the ports tcp and udp 53 at ::1 in every network namespace of the target's processes",
            ),
        ] {
            let text = format!("{{target: {{pid: 1}}, fault: {{networkOccupy: {yaml}}}}}");
            let specs: Vec<chaos_common::spec::Spec> =
                chaos_common::spec::from_yaml(&text).unwrap();
            let chaos_common::fault::Fault::NetworkOccupy(occupy) = &specs[0].fault else {
                unreachable!("{yaml}")
            };
            let plan: Vec<String> = plan(occupy).iter().map(ToString::to_string).collect();
            assert_eq!(plan, [said]);
        }
    }
}
