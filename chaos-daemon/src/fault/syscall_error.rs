//! `syscall error`: system calls fail where they begin; or, where no program can be attached there, where the kernel
//! asks its security modules.

use std::collections::BTreeSet;

use chaos_common::{
    abi::{CallRule, Condition, NO_ARGUMENT, Operation},
    fault::{FaultKind, SizeRange, SyscallError},
    value::{Remotes, Syscall, SyscallName},
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule, Way},
};
use crate::{
    effect::Effect,
    kernel::{Found, Support, signature},
};

pub(super) fn plan(
    error: &SyscallError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let found = support.calls.get();
    let mut asked = Asked::default();
    let calls: BTreeSet<Syscall> =
        error.calls.names().iter().flat_map(|name| call::present(name, found)).collect();
    let others = error.calls.names().iter().filter(|name| !name.is_alone());
    let is_alone = |call: Syscall| !others.clone().any(|name| name.calls().contains(&call));
    for (call, way) in call::ways(&calls, found) {
        match way.and_then(|way| fit(error, call, way, found)) {
            Ok(Way::Beginning(_)) => asked.syscall(call),
            Ok(Way::Asked(_)) if is_alone(call) => {
                asked.lacks(&format!("={call}"), NOT_ALONE.to_owned());
            }
            Ok(Way::Asked(operations)) => {
                for (operation, _) in operations {
                    asked.operation(operation, found);
                }
            }
            Err(reason) => asked.lacks(call.name(), reason),
        }
    }
    let chosen = asked.settle(FaultKind::SyscallError, error.partial)?;
    let (least, most) = error.size.map_or((0, u64::MAX), SizeRange::bounds);
    let size = if error.size.is_some() { Condition::Size as u32 } else { 0 };
    let files = if error.files.is_any() { 0 } else { Condition::Files as u32 };
    let rule = CallRule {
        files: error.files.bits(),
        conditions: size | files,
        least,
        most,
        ..CallRule::default()
    };
    let rule = Rule {
        errno: Some(error.errno),
        paths: &error.paths,
        caller: &error.caller,
        occasion: &error.occasion,
        rule,
        remotes: (Remotes::default(), Remotes::default()),
        about: format!("{} {}", error.errno, error.calls),
    };
    Ok(rule.effects(chosen, limits))
}

/// Where a call is met, or why the rule can never be about it.
fn fit(error: &SyscallError, call: Syscall, way: Way, found: &Found) -> Result<Way, String> {
    let signature = signature(call);
    let has = |argument| argument != NO_ARGUMENT;
    let is_of_sockets = call::operations_of(call)
        .iter()
        .any(|one| *one >= Operation::Socket && *one <= Operation::Receive);
    let names_file = has(signature.path) || has(signature.file) && !is_of_sockets;
    if !error.paths.include.is_empty() && !names_file {
        return Err("is about no file with a path; leave `paths` out".into());
    }
    if !error.files.is_any() && !has(signature.file) {
        return Err("has no descriptor; leave `files` out".into());
    }
    if error.size.is_some() && !has(signature.size) && !has(signature.vector) {
        return Err("says no size; leave `size` out".into());
    }
    let says_size = |one: &Operation| matches!(one, Operation::Send | Operation::Receive);
    if let (Way::Asked(operations), Some(_), Err(beginning)) = (&way, error.size, &found.syscalls)
        && !operations.iter().all(|(one, _)| says_size(one))
    {
        return Err(format!("{beginning}; and security modules are told no size"));
    }
    Ok(way)
}

/// Why one call is not met by itself.
const NOT_ALONE: &str =
    "security modules are asked about all that does the same; give the name without `=`";

/// Names that the doctor answers for.
const NAMES: [&str; 25] = [
    "open", "read", "write", "fsync", "stat", "rename", "unlink", "mkdir", "truncate", "chmod",
    "ioctl", "socket", "connect", "bind", "listen", "accept", "send", "recv", "clone", "execve",
    "mmap", "brk", "mremap", "mprotect", "futex",
];

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let found = support.calls.get();
    let of = |name: &'static str| Capability {
        fault: FaultKind::SyscallError,
        aspect: name,
        support: mechanism(name, found),
        caveats: caveats(found),
    };
    NAMES.into_iter().map(of).collect()
}

/// How all calls of a name are met, or why one is not.
fn mechanism(name: &str, found: &Found) -> Result<String, String> {
    let name: SyscallName =
        name.parse().map_err(|invalid: chaos_common::invalid::Invalid| invalid.problem)?;
    let calls = call::present(&name, found).into_iter().collect();
    let ways = call::ways(&calls, found).into_values().map(|way| Ok(way?.to_string()));
    let ways: BTreeSet<String> = ways.collect::<Result<_, String>>()?;
    Ok(ways.into_iter().collect::<Vec<_>>().join("; "))
}

fn caveats(found: &Found) -> Vec<std::borrow::Cow<'static, str>> {
    let mut caveats = call::counting(found);
    if found.syscalls.is_ok() {
        caveats.push("what io_uring does is not met".into());
        if let Err(reason) = &found.compat {
            caveats.push(format!("what 32-bit programs call is not met: {reason}").into());
        }
        caveats.push(
            "a path is taken as the call gives it, links and `..` in it are not followed".into(),
        );
    } else if found.operations.is_ok() {
        caveats.push("met where the kernel asks, so whatever else does the same is met too; `size` is not known".into());
    }
    caveats
}

#[cfg(test)]
mod tests {
    use chaos_common::{
        fault::Fault,
        spec::{Spec, from_yaml},
    };

    use super::*;
    use crate::{
        boot_clock::BootTime,
        effect::{HookCalls, PutCallRule},
        kernel::CallSupport,
    };

    fn planned(fields: &str, found: Found) -> Result<(CallRule, String, String), String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{syscallError: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        let Fault::SyscallError(error) = &specs[0].fault else { panic!("another fault") };
        let limits = Limits { deadline: BootTime::from_nanos(7), times: None, seed: 1 };
        let support = Support { calls: CallSupport::known(found), ..Support::full() };
        let effects = plan(error, &limits, &support).map_err(|refused| refused.to_string())?;
        let [Effect::PutCallRule(PutCallRule(put)), Effect::HookCalls(HookCalls(_))] = &effects[..]
        else {
            panic!("{effects:?}")
        };
        Ok((put.rule, effects[0].to_string(), effects[1].to_string()))
    }

    #[test]
    fn calls_are_met_where_they_begin() {
        let fields = "calls: [open, read], errno: EIO, size: {least: 4KiB}, files: [file], skip: 2, every: 3";
        let error = planned(fields, Found::everything()).unwrap_err();
        assert!(error.contains("openat2: has no descriptor; leave `files` out"), "{error}");
        let fields = "calls: [=openat, =read], errno: EIO, skip: 4, every: 3";
        let (rule, put, hook) = planned(fields, Found::everything()).unwrap();
        assert_eq!((rule.errno, rule.operations, rule.conditions), (5, 0, 0));
        assert_eq!((rule.calls[0], rule.calls[4]), (1, 1 << (257 - 256)));
        assert_eq!((rule.gate.dice.first, rule.gate.dice.every, rule.gate.deadline_ns), (4, 3, 7));
        assert_eq!(put, "put a rule: EIO =openat =read; fires at one in 3 from event 4 on");
        assert_eq!(hook, "attach programs where the kernel begins read, openat");
    }

    #[test]
    fn elsewhere_they_are_met_where_the_kernel_asks() {
        let (rule, _, hook) =
            planned("calls: [open], errno: ENOSPC", Found::operations_only()).unwrap();
        let wanted = Operation::Open.bit() | Operation::Create.bit();
        assert_eq!((rule.errno, rule.operations, rule.calls), (28, wanted, [0; 8]));
        assert_eq!(hook, "attach programs where the kernel asks about open, create");
    }

    #[test]
    fn what_cannot_be_done_is_listed_and_left_out_when_asked() {
        let fields = "calls: [open, futex, fsync], errno: EIO";
        let error = planned(fields, Found::operations_only()).unwrap_err();
        assert_eq!(
            error,
            "syscall error (calls) is unsupported here: fsync, fdatasync, futex: no way \
             (with `partial` all else is done)"
        );
        let (_, put, hook) =
            planned(&format!("{fields}, partial: true"), Found::operations_only()).unwrap();
        assert!(put.contains("(without fsync, fdatasync, futex: no way)"), "{put}");
        assert_eq!(hook, "attach programs where the kernel asks about open, create");
        let nothing =
            planned("calls: [futex], errno: EIO, partial: true", Found::operations_only());
        assert!(nothing.unwrap_err().ends_with("futex: no way"));
        let sized = "calls: [read], errno: EIO, size: {most: 1KiB}";
        let error = planned(sized, Found::operations_only()).unwrap_err();
        assert!(error.contains("security modules are told no size"), "{error}");
        let (rule, ..) = planned(sized, Found::everything()).unwrap();
        assert_eq!((rule.conditions, rule.most), (Condition::Size as u32, 1024));
    }

    #[test]
    fn the_doctor_says_how_or_why_not() {
        let said = |found: Found, aspect: &str| {
            let support = Support { calls: CallSupport::known(found), ..Support::full() };
            let all = capabilities(&support).into_iter();
            all.filter(|one| one.aspect == aspect).map(|one| one.support).next().unwrap()
        };
        assert_eq!(
            said(Found::everything(), "fsync").unwrap(),
            "fmod_ret where the system call begins"
        );
        assert_eq!(
            said(Found::operations_only(), "open").unwrap(),
            "fmod_ret on security_file_open, security_path_mknod"
        );
        assert_eq!(said(Found::operations_only(), "fsync").unwrap_err(), "no way");
        assert_eq!(said(Found::nothing(), "open").unwrap_err(), "no types; no types");
    }

    #[test]
    fn what_the_doctor_says_of_a_name_is_what_becomes_of_it() {
        let kernels = [
            Found::everything(),
            Found::everything().without("fchmodat2"),
            Found::operations_only(),
            Found::operations_only().without("openat2"),
            Found::no_operations(),
            Found::nothing(),
        ];
        for found in kernels {
            for name in NAMES {
                let is_planned = planned(&format!("calls: [{name}], errno: EIO"), found.clone());
                let is_said = mechanism(name, &found);
                assert_eq!(
                    is_said.is_ok(),
                    is_planned.is_ok(),
                    "{name}: {is_said:?}, {is_planned:?}"
                );
            }
        }
    }

    #[test]
    fn a_call_that_is_there_and_cannot_be_met_is_named() {
        let found = || Found::everything().without_types_of("getpid");
        let error = planned("calls: ['=getpid', open], errno: EAGAIN", found()).unwrap_err();
        assert!(error.contains("types have no function for getpid"), "{error}");
        assert!(planned("calls: ['=getpid', open], errno: EIO, partial: true", found()).is_ok());
    }

    #[test]
    fn a_call_alone_is_met_at_its_beginning_or_not_at_all() {
        let error = planned("calls: ['=creat'], errno: EIO", Found::operations_only());
        assert!(error.unwrap_err().contains("=creat: security modules are asked about all"));
        assert!(planned("calls: ['=creat', open], errno: EIO", Found::operations_only()).is_ok());
        assert!(planned("calls: [creat], errno: EIO", Found::operations_only()).is_ok());
        assert!(planned("calls: ['=creat'], errno: EIO", Found::everything()).is_ok());
    }

    #[test]
    fn what_does_the_same_as_a_call_that_cannot_be_met_is_asked_about_once() {
        let found = || Found::everything().without_types_of("fork");
        let fork = Operation::Fork.bit();
        let (rule, ..) = planned("calls: [clone], errno: EAGAIN", found()).unwrap();
        assert_eq!((rule.calls, rule.operations), ([0; 8], fork));
        let (rule, ..) = planned("calls: ['@process', openat], errno: EAGAIN", found()).unwrap();
        assert!(rule.operations == fork && rule.calls != [0; 8], "{rule:?}");
        let clone = Syscall::named("clone").unwrap().number();
        assert_eq!(rule.calls[usize::from(clone) / 64] & 1 << (clone % 64), 0);
        let (rule, ..) = planned("calls: ['=clone'], errno: EAGAIN", found()).unwrap();
        assert!(rule.operations == 0 && rule.calls != [0; 8], "{rule:?}");
        let (rule, ..) = planned("calls: [clone], errno: EAGAIN", Found::everything()).unwrap();
        assert_eq!(rule.operations, 0);
        let told = mechanism("clone", &found()).unwrap();
        assert_eq!(told, "fmod_ret on security_task_alloc");
    }

    #[test]
    fn calls_that_the_kernel_does_not_have_are_left_out() {
        let old = || Found::everything().without("fchmodat2");
        let (rule, ..) = planned("calls: [chmod], errno: EIO", old()).unwrap();
        let all = planned("calls: [chmod], errno: EIO", Found::everything()).unwrap().0;
        assert_eq!((rule.calls[7], all.calls[7]), (0, 1 << (452 % 64)));
        assert_eq!(rule.calls[..7], all.calls[..7]);
        assert!(planned("calls: ['@file'], errno: EIO", old()).is_ok());
        for (calls, found) in [
            ("=fchmodat2", old()),
            ("fchmodat2", old()),
            ("chmod, =fchmodat2", old()),
            ("=fchmodat2", Found::operations_only().without("fchmodat2")),
        ] {
            let error = planned(&format!("calls: [{calls}], errno: EIO"), found).unwrap_err();
            assert!(
                error.contains("fchmodat2: this kernel has no system call fchmodat2"),
                "{error}"
            );
        }
    }
}
