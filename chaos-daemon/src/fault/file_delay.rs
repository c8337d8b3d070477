//! `file delay`: what is done to files waits, where the kernel asks whether it may go on.

use chaos_common::{
    abi::{CallRule, Condition, FileKind, Operation},
    fault::{DELAY_OPERATIONS, FaultKind, FileDelay},
    value::Remotes,
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
};
use crate::{
    effect::{Effect, HoldFiles},
    kernel::{HeldFiles, Support},
};

pub(super) fn plan(
    delay: &FileDelay,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    let mut asked = Asked::default();
    for operation in delay.operations.iter() {
        match support.files.can_hold(operation) {
            Ok(()) => {
                asked.operation(operation, found);
                if operation == Operation::Open {
                    asked.operation(Operation::Made, found);
                }
            }
            Err(reason) => asked.lacks(operation.word(), reason),
        }
    }
    let chosen = asked.settle(FaultKind::FileDelay, delay.partial)?;
    let held = HeldFiles {
        paths: delay.paths.include.clone(),
        operations: delay
            .operations
            .iter()
            .filter(|one| chosen.0.operations.contains(one))
            .collect(),
    };
    let rule = Rule {
        errno: None,
        paths: &delay.paths,
        caller: &delay.caller,
        occasion: &delay.occasion,
        rule: CallRule {
            hold: delay.hold(),
            // Of others the kernel asks here and there.
            conditions: Condition::Files as u32,
            files: FileKind::Regular as u32,
            ..CallRule::default()
        },
        remotes: (Remotes::default(), Remotes::default()),
        about: delay.to_string(),
    };
    let mut effects = rule.effects(chosen, limits);
    effects.push(Effect::HoldFiles(HoldFiles(Box::new(held))));
    Ok(effects)
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let found = support.calls.get();
    let of = |operation: Operation| {
        let tier = support.files.can_hold(operation).and_then(|()| {
            let hook = call::hook(operation, found)?;
            let event = if operation == Operation::Write { "FAN_PRE_ACCESS" } else { "fanotify" };
            Ok(format!("{}, and {event}", call::named_hook(hook)))
        });
        let mut caveats = call::counting(found);
        if tier.is_ok() {
            caveats.push("without its daemon such a fault is over".into());
        }
        let aspect = operation.word();
        Capability { fault: FaultKind::FileDelay, aspect, support: tier, caveats }
    };
    DELAY_OPERATIONS.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::{boot_clock::BootTime, kernel::FileSupport};

    fn planned(fields: &str, support: &Support) -> Result<Vec<String>, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{fileDelay: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        let Fault::FileDelay(delay) = &specs[0].fault else { panic!("another fault") };
        let limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };
        let effects = plan(delay, &limits, support).map_err(|refused| refused.to_string())?;
        Ok(effects.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_rule_says_who_waits_and_a_process_lets_them() {
        let fields = "paths: [/a/**], latency: 20ms, jitter: 5ms, percent: 50";
        assert_eq!(
            planned(fields, &Support::full()).unwrap(),
            [
                "put a rule: 20ms ± 5ms open read, /a/**, 50 %; fires with 50.0000 %",
                "attach programs where the kernel asks about open, read",
                "watch open, read of /a/** in every mount namespace of the target's processes (fanotify), from a process of its own",
            ]
        );
    }

    #[test]
    fn what_is_written_waits_on_new_kernels_only() {
        let old = Support { files: FileSupport::no_writes(), ..Support::full() };
        let fields = "paths: [/a], operations: [write, read], latency: 1s";
        assert!(planned(fields, &Support::full()).is_ok());
        let refused = planned(fields, &old).unwrap_err();
        assert!(refused.contains("write: too old (with `partial` all else is done)"), "{refused}");
        let partly = planned(&format!("{fields}, partial: true"), &old).unwrap();
        assert_eq!(partly[1], "attach programs where the kernel asks about read");
    }
}
