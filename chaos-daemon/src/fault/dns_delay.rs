//! `dns delay`: questions are held on their way out, or their answers on their way in.

use chaos_common::{
    abi::Action,
    fault::{DelayOf, DnsDelay, FaultKind},
};

use super::{
    Capability, Limits, Unsupported,
    dns::{self, Dns},
    network::Means,
};
use crate::{
    effect::Effect,
    kernel::{Beside, Support},
};

pub(super) fn plan(
    delay: &DnsDelay,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Dns {
        kind: FaultKind::DnsDelay,
        questions: &delay.questions,
        asks: delay.of.to_abi(),
        direction: delay.of.direction(),
        percent: delay.percent,
        action: Action::Hold,
        parameters: delay.hold().words(),
        beside: Beside::Nothing,
        means: Means::Hold,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |aspect, of: DelayOf| {
        dns::capability(FaultKind::DnsDelay, aspect, Means::Hold, of.direction(), support)
    };
    vec![of("queries", DelayOf::Queries), of("answers", DelayOf::Answers)]
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        abi::Asks,
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::{boot_clock::BootTime, effect::PutRule};

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    #[test]
    fn what_is_held_goes_the_way_that_is_hooked() {
        for (of, asks, hook) in [
            ("queries", Asks::Query, Effect::HookEgress),
            ("answers", Asks::Response, Effect::HookArrival),
        ] {
            let text = format!(
                "{{target: {{pid: 1}}, fault: {{dnsDelay: {{names: [a], latency: 1s, of: {of}}}}}}}"
            );
            let specs: Vec<Spec> = from_yaml(&text).unwrap();
            let Fault::DnsDelay(delay) = &specs[0].fault else { panic!("another fault") };
            let effects = plan(delay, &LIMITS, &Support::full()).unwrap();
            assert_eq!(effects[1..], [Effect::HoldPackets, hook]);
            let Effect::PutRule(PutRule(spec)) = &effects[0] else { panic!("no rule") };
            assert_eq!(spec.rule.filter.question.asks, asks as u32);
        }
    }
}
