//! `dns record`: questions are answered in the name server's place, with chosen records.

use chaos_common::{
    abi::{Action, Asks, Respond},
    fault::{Direction, DnsAnswer, DnsRecord, FaultKind},
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
    record: &DnsRecord,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let records = record.records();
    let respond = Respond {
        code: 0,
        has_records: records.is_some().into(),
        is_cut: (record.answer == DnsAnswer::Truncated).into(),
    };
    Dns {
        kind: FaultKind::DnsRecord,
        questions: &record.questions,
        asks: Asks::Query,
        direction: Direction::Out,
        percent: record.percent,
        action: Action::Respond,
        parameters: respond.words(),
        beside: records.map_or(Beside::Nothing, Beside::Records),
        means: Means::Answer,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let kind = FaultKind::DnsRecord;
    vec![dns::capability(kind, "response", Means::Answer, Direction::Out, support)]
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::{boot_clock::BootTime, effect::PutRule};

    const LIMITS: Limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };

    fn planned(fields: &str) -> (Respond, bool) {
        let text =
            format!("{{target: {{pid: 1}}, fault: {{dnsRecord: {{names: [a], {fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).unwrap();
        let Fault::DnsRecord(record) = &specs[0].fault else { panic!("another fault") };
        let effects = plan(record, &LIMITS, &Support::full()).unwrap();
        let [Effect::PutRule(PutRule(spec)), Effect::HookEgress] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        (Respond::of(&spec.rule.parameters), matches!(spec.beside, Beside::Records(_)))
    }

    #[test]
    fn records_lie_beside_the_rule() {
        let plain = Respond::default();
        assert_eq!(planned("addresses: [10.0.0.1]"), (Respond { has_records: 1, ..plain }, true));
        assert_eq!(planned("empty: true"), (plain, false));
        assert_eq!(planned("truncated: true"), (Respond { is_cut: 1, ..plain }, false));
    }
}
