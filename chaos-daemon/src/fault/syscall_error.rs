//! `syscall error`: system calls fail where they begin; or, where no program can be attached there, where the kernel
//! asks its security modules.

use chaos_common::{
    abi::{CallRule, Condition, NO_ARGUMENT, Operation},
    fault::{FaultKind, SizeRange, SyscallError},
    value::{Remotes, Syscall, SyscallName},
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
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
    for call in error.calls.calls() {
        match fit(error, call, found) {
            Ok(None) => asked.syscall(call),
            Ok(Some(operations)) => {
                for operation in operations {
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
        errno: error.errno,
        paths: &error.paths,
        caller: &error.caller,
        occasion: &error.occasion,
        rule,
        remotes: (Remotes::default(), Remotes::default()),
        about: format!("{} {}", error.errno, error.calls),
    };
    Ok(rule.effects(chosen, limits))
}

/// Where a call is met: at its beginning, or at some operations. Or why the rule can never be about it.
fn fit(
    error: &SyscallError,
    call: Syscall,
    found: &Found,
) -> Result<Option<Vec<Operation>>, String> {
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
    let Err(beginning) = call::syscall(call, found) else { return Ok(None) };
    if found.syscalls.is_ok() {
        return Err(beginning);
    }
    let operations = call::operations_of(call);
    if operations.is_empty() {
        return Err(beginning);
    }
    let says_size = |one: &Operation| matches!(one, Operation::Send | Operation::Receive);
    if error.size.is_some() && !operations.iter().all(says_size) {
        return Err(format!("{beginning}; and security modules are told no size"));
    }
    for operation in &operations {
        call::hook(*operation, found).map_err(|hook| format!("{beginning}; {hook}"))?;
    }
    Ok(Some(operations.into_iter().collect()))
}

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

fn mechanism(name: &str, found: &Found) -> Result<String, String> {
    let name: SyscallName =
        name.parse().map_err(|invalid: chaos_common::invalid::Invalid| invalid.problem)?;
    let mut mechanism = Err(String::new());
    for call in name.calls() {
        let beginning = match call::syscall(*call, found) {
            Ok(tier) => return Ok(call::named(tier)),
            Err(reason) => reason,
        };
        let operations = call::operations_of(*call);
        let hooks: Result<Vec<String>, String> = operations
            .iter()
            .map(|one| call::hook(*one, found).map(|hook| hook.function().to_owned()))
            .collect();
        mechanism = match hooks {
            Ok(hooks) if !hooks.is_empty() => Ok(format!("fmod_ret on {}", hooks.join(", "))),
            Ok(_) => Err(beginning),
            Err(hook) => Err(format!("{beginning}; {hook}")),
        };
        if mechanism.is_ok() {
            break;
        }
    }
    mechanism
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
