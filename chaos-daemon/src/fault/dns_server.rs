//! `dns server`: calls that go to name servers name another one, or packets are answered as where nobody listens.

use chaos_common::{
    abi::{Action, Answer, Dice, NetRule, Redirect, Reject},
    fault::{DnsServer, FaultKind},
};

use super::{
    Capability, Limits, Unsupported,
    network::{self, Means, Network},
    network_reject::EPERM_ONLY,
};
use crate::{
    effect::{Effect, PutRule},
    kernel::{About, Beside, Passing, Refusal, RuleSpec, Support},
};

const UPSTREAM: &str = "upstream";
const NONE: &str = "none";
/// Sockets that are connected have no calls that could be met.
const CONNECTED_BEFORE: &str = "what is connected to a name server when the fault begins stays so";
/// What happens to those that are connected to the other name server at its end.
const CONNECTED_AFTER: &str = "what is connected to the other name server when the fault is recovered stays so until it is closed";

pub(super) fn plan(
    server: &DnsServer,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    match server.redirect() {
        Some(redirect) => elsewhere(server, redirect, limits, support),
        None => nowhere(server, limits, support),
    }
}

fn nowhere(
    server: &DnsServer,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    Network {
        kind: FaultKind::DnsServer,
        filter: &server.filter(),
        action: Action::Reject,
        parameters: Reject { answer: Answer::Reset as u64, wait_ns: 0 }.words(),
        beside: Beside::Nothing,
        dice: Dice::percent(limits.seed, server.percent.chance()),
        means: Means::Answer,
    }
    .plan(limits, support)
}

fn elsewhere(
    server: &DnsServer,
    redirect: Redirect,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    can_redirect(support).map_err(|reason| Unsupported {
        fault: FaultKind::DnsServer,
        aspect: UPSTREAM,
        reason,
    })?;
    let filter = server.filter();
    let rule = NetRule {
        gate: limits.gate(Dice::percent(limits.seed, server.percent.chance())),
        // Written with the rule, by whoever gives it one.
        id: 0,
        action: Action::Redirect as u32,
        filter: filter.to_abi(),
        parameters: redirect.words(),
    };
    let about = About::Packets(Box::new(filter));
    let rule = RuleSpec { rule, about, beside: Beside::Nothing };
    Ok(vec![
        Effect::PutRule(PutRule(Box::new(rule))),
        // Where answers come from is known before there are any.
        Effect::HookCgroup(Passing::Told),
        Effect::HookCgroup(Passing::Connecting),
        // What is connected elsewhere when nobody is alive who would end it.
        Effect::HookEgress,
        Effect::EndRedirected,
    ])
}

fn can_redirect(support: &Support) -> Result<(), String> {
    support.attempts.clone()?;
    support.egress.clone().map(drop)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let [mut none, _] = network::each_way(FaultKind::DnsServer, Means::Answer, support);
    none.aspect = NONE;
    let permission = (support.attempts == Ok(Refusal::Permission)).then_some(EPERM_ONLY);
    let stays = support.ending.is_err().then_some(CONNECTED_AFTER);
    let caveats = [Some(CONNECTED_BEFORE), stays, permission, network::counting(support)];
    let upstream = Capability {
        fault: FaultKind::DnsServer,
        aspect: UPSTREAM,
        support: can_redirect(support).map(|()| {
            "cgroup_sock_addr links on the target's cgroup, and a program where packets leave"
                .into()
        }),
        caveats: caveats.into_iter().flatten().map(Into::into).collect(),
    };
    vec![upstream, none]
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

    fn planned(fields: &str, support: &Support) -> Result<Vec<Effect>, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{dnsServer: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).unwrap();
        let Fault::DnsServer(server) = &specs[0].fault else { panic!("another fault") };
        plan(server, &LIMITS, support).map_err(|refused| refused.to_string())
    }

    #[test]
    fn what_is_connected_elsewhere_is_ended() {
        let effects = planned("upstream: [10.0.0.2]", &Support::full()).unwrap();
        assert_eq!(effects.last(), Some(&Effect::EndRedirected));
        assert!(effects.contains(&Effect::HookCgroup(Passing::Told)), "{effects:?}");
        let none = planned("none: true", &Support::full()).unwrap();
        assert_eq!(none[1..], [Effect::HookEgress]);
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_kernel_s_reason() {
        let without = Support { attempts: Err("no hook".into()), ..Support::full() };
        let refused = planned("upstream: [10.0.0.2]", &without).unwrap_err();
        assert_eq!(refused, "dns server (upstream) is unsupported here: no hook");
        assert!(planned("none: true", &without).is_ok());
        let told = capabilities(&without);
        assert!(told[0].support.is_err() && told[1].support.is_ok());
    }
}
