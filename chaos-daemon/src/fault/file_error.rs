//! `file error`: what is done to files fails, where the kernel asks its security modules.

use chaos_common::{
    abi::{CallRule, Operation},
    fault::{FILE_OPERATIONS, FaultKind, FileError},
    value::{Remotes, Syscall, SyscallName},
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
};
use crate::{
    effect::Effect,
    kernel::{Found, Support},
};

pub(super) fn plan(
    error: &FileError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    let mut asked = Asked::default();
    for operation in error.operations.iter() {
        if operation == Operation::Sync {
            sync(&mut asked, found);
        } else {
            asked.operation(operation, found);
        }
    }
    let chosen = asked.settle(FaultKind::FileError, error.partial)?;
    let rule = Rule {
        errno: Some(error.errno),
        paths: &error.paths,
        caller: &error.caller,
        occasion: &error.occasion,
        rule: CallRule::default(),
        remotes: (Remotes::default(), Remotes::default()),
        about: format!("{} {}{}", error.errno, error.operations, error.paths),
    };
    Ok(rule.effects(chosen, limits))
}

/// No security module is asked whether something may be written back.
fn sync(asked: &mut Asked, found: &Found) {
    for call in sync_calls() {
        match call::syscall(call, found) {
            Ok(_) => asked.syscall(call),
            Err(reason) => asked.lacks(call.name(), reason),
        }
    }
}

fn sync_calls() -> Vec<Syscall> {
    "fsync".parse::<SyscallName>().map(|name| name.calls().to_vec()).unwrap_or_default()
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let found = support.calls.get();
    let of = |operation| {
        if operation != Operation::Sync {
            return call::capability(FaultKind::FileError, operation, support);
        }
        let tiers: Result<Vec<_>, _> =
            sync_calls().into_iter().map(|call| call::syscall(call, found)).collect();
        let tier =
            tiers.map(|tiers| tiers.first().map_or_else(String::new, |tier| call::named(*tier)));
        let mut caveats = call::counting(found);
        if tier.is_ok() {
            caveats.push("what io_uring does is not met".into());
        }
        Capability { fault: FaultKind::FileError, aspect: operation.word(), support: tier, caveats }
    };
    FILE_OPERATIONS.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::{boot_clock::BootTime, kernel::CallSupport};

    fn planned(fields: &str, found: Found) -> Result<Vec<String>, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{fileError: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        let Fault::FileError(error) = &specs[0].fault else { panic!("another fault") };
        let limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };
        let support = Support { calls: CallSupport::known(found), ..Support::full() };
        let effects = plan(error, &limits, &support).map_err(|refused| refused.to_string())?;
        Ok(effects.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_rule_is_asked_at_hooks_and_where_system_calls_begin() {
        let fields = "paths: [/a/**], operations: [write, fsync], errno: EIO, percent: 50";
        assert_eq!(
            planned(fields, Found::everything()).unwrap(),
            [
                "put a rule: EIO write fsync, /a/**; fires with 50.0000 %",
                "attach programs where the kernel begins fsync, fdatasync, and asks about write",
            ]
        );
        let refused = planned(fields, Found::operations_only()).unwrap_err();
        assert!(refused.contains("fsync, fdatasync: no way"), "{refused}");
        let partly = format!("{fields}, partial: true");
        assert_eq!(
            planned(&partly, Found::operations_only()).unwrap()[1],
            "attach programs where the kernel asks about write"
        );
    }
}
