//! `dns error`: questions are answered in the name server's place, or vanish.

use chaos_common::{
    abi::{Action, Asks, PARAMETERS, Respond},
    fault::{Direction, DnsError, FaultKind},
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
    error: &DnsError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let (action, parameters, means) = match error.code.number() {
        Some(code) => {
            let respond = Respond { code: code.into(), ..Respond::default() };
            (Action::Respond, respond.words(), Means::Answer)
        }
        None => (Action::Drop, [0; PARAMETERS], Means::Verdict),
    };
    Dns {
        kind: FaultKind::DnsError,
        questions: &error.questions,
        asks: Asks::Query,
        direction: Direction::Out,
        percent: error.percent,
        action,
        parameters,
        beside: Beside::Nothing,
        means,
    }
    .plan(limits, support)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |aspect, means| {
        dns::capability(FaultKind::DnsError, aspect, means, Direction::Out, support)
    };
    vec![of("response", Means::Answer), of("timeout", Means::Verdict)]
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

    fn planned(fields: &str, support: &Support) -> Result<Vec<String>, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{dnsError: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        let Fault::DnsError(error) = &specs[0].fault else { panic!("another fault") };
        let effects = plan(error, &LIMITS, support).map_err(|refused| refused.to_string())?;
        Ok(effects.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn questions_are_met_as_they_go_out() {
        let full = Support::full();
        let effects = planned("names: ['*.b'], code: NXDOMAIN, percent: 50", &full).unwrap();
        assert_eq!(effects.len(), 2, "{effects:?}");
        assert!(effects[0].contains("questions for *.b"), "{effects:?}");
        assert!(effects[0].contains("50.0000 %"), "{effects:?}");
        let silent = planned("names: ['*.b'], code: timeout", &full).unwrap();
        assert_eq!(silent[1], effects[1]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_kernel_s_reason() {
        let without = Support { egress: Err("no hook".into()), ..Support::full() };
        assert!(planned("names: [a]", &without).unwrap_err().contains("no hook"));
        let told = capabilities(&without);
        assert!(told.iter().all(|one| one.support.is_err()) && told.len() == 2);
    }
}
