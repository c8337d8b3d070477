//! What all faults of calls have in common: which of what was asked for this node can do, and the rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use chaos_common::{
    abi::{CallRule, Condition, Operation},
    fault::{Caller, FaultKind, Occasion, Paths},
    value::{Errno, Remotes, Syscall, SyscallName},
};

use super::{Capability, Limits, Unsupported};
use crate::{
    effect::{Effect, HookCalls, PutCallRule},
    kernel::{CallSpec, Calls, Found, OperationHook, Support, SyscallTier},
};

/// What of a fault this node can do, and what it cannot.
#[derive(Default)]
pub(super) struct Asked {
    calls: Calls,
    /// By the reason.
    missing: BTreeMap<String, Vec<String>>,
    /// Something is done that is no matter of calls.
    does_more: bool,
}

impl Asked {
    /// A system call, where it begins.
    pub(super) fn syscall(&mut self, call: Syscall) {
        self.calls.syscalls.insert(call);
    }

    /// What the kernel asks its security modules, if it does.
    pub(super) fn operation(&mut self, operation: Operation, found: &Found) {
        match hook(operation, found) {
            Ok(_) => drop(self.calls.operations.insert(operation)),
            Err(reason) => self.lacks(operation.word(), reason),
        }
    }

    /// Something that another engine does.
    pub(super) fn elsewhere(&mut self) {
        self.does_more = true;
    }

    /// Something that cannot be done.
    pub(super) fn lacks(&mut self, name: &str, reason: String) {
        let names = self.missing.entry(reason).or_default();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }

    /// All that was asked for; or, if that is enough, what can be done of it.
    pub(super) fn settle(
        self,
        kind: FaultKind,
        partial: bool,
    ) -> Result<(Calls, String), Unsupported> {
        let mut list = String::new();
        for (reason, names) in &self.missing {
            let _ = write!(
                list,
                "{}{}: {reason}",
                if list.is_empty() { "" } else { "; " },
                names.join(", ")
            );
        }
        let can_do_some = self.does_more || self.calls != Calls::default();
        if self.missing.is_empty() || (partial && can_do_some) {
            return Ok((self.calls, list));
        }
        let hint = if can_do_some { " (with `partial` all else is done)" } else { "" };
        Err(Unsupported { fault: kind, aspect: "calls", reason: format!("{list}{hint}") })
    }
}

/// The hook at which an operation is asked about, or why there is none.
pub(super) fn hook(operation: Operation, found: &Found) -> Result<OperationHook, String> {
    let Some((hook, _)) = OperationHook::of(operation) else {
        return Err("the kernel asks nobody about it".into());
    };
    found.operations.clone()?;
    if found.has_hook(hook) {
        Ok(hook)
    } else {
        Err(format!(
            "this kernel has no {}, or lets no program replace what it returns",
            hook.function()
        ))
    }
}

/// How a system call is met at its beginning, or why it is not.
pub(super) fn syscall(call: Syscall, found: &Found) -> Result<SyscallTier, String> {
    has(call, found)?;
    let tier = found.syscalls.clone()?;
    if found.meets_syscall(call) {
        Ok(tier)
    } else {
        Err(format!(
            "this kernel's types have no function for {call} that a program could be attached to"
        ))
    }
}

/// What the kernel does not have nobody can call.
fn has(call: Syscall, found: &Found) -> Result<(), String> {
    if found.has_syscall(call) {
        Ok(())
    } else {
        Err(format!("this kernel has no system call {call}"))
    }
}

/// What of the calls of a name the kernel has. Of a name of which it has none all of them, to be refused.
pub(super) fn present(name: &SyscallName, found: &Found) -> Vec<Syscall> {
    let (here, absent): (Vec<_>, Vec<_>) =
        name.calls().iter().partition(|call| found.has_syscall(**call));
    if here.is_empty() { absent } else { here }
}

/// Where a call is met.
pub(super) enum Way {
    /// At its beginning.
    Beginning(SyscallTier),
    /// Where security modules are asked about these.
    Asked(Vec<(Operation, OperationHook)>),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning(tier) => f.write_str(&named(*tier)),
            Self::Asked(operations) => {
                let hooks: Vec<_> = operations.iter().map(|(_, hook)| hook.function()).collect();
                write!(f, "fmod_ret on {}", hooks.join(", "))
            }
        }
    }
}

/// Where calls are met that are asked for together, or why one is not.
///
/// Each where it begins, if it can be. Those that do the same as one that cannot are met where security modules are asked,
/// as that one is, or they would be asked about twice.
pub(super) fn ways(
    calls: &BTreeSet<Syscall>,
    found: &Found,
) -> BTreeMap<Syscall, Result<Way, String>> {
    let begins = |call: Syscall| syscall(call, found);
    let late = calls.iter().filter(|call| begins(**call).is_err() && has(**call, found).is_ok());
    let late: BTreeSet<Operation> = late.flat_map(|call| operations_of(*call)).collect();
    let way = |call: Syscall| match begins(call) {
        Ok(tier) if operations_of(call).iter().all(|one| !late.contains(one)) => {
            Ok(Way::Beginning(tier))
        }
        Ok(_) => asked(call, found),
        Err(reason) => asked(call, found)
            .map_err(|hook| if hook.is_empty() { reason } else { format!("{reason}; {hook}") }),
    };
    calls.iter().map(|call| (*call, has(*call, found).and_then(|()| way(*call)))).collect()
}

/// Where security modules are asked about what a call does, or why they are not; no words if nobody ever is.
fn asked(call: Syscall, found: &Found) -> Result<Way, String> {
    let operations = operations_of(call);
    if operations.is_empty() {
        return Err(String::new());
    }
    let asked = operations.into_iter().map(|one| Ok((one, hook(one, found)?)));
    asked.collect::<Result<_, String>>().map(Way::Asked)
}

/// What users read of a mechanism.
pub(super) fn named(tier: SyscallTier) -> String {
    match tier {
        SyscallTier::Replace => "fmod_ret where the system call begins".into(),
        SyscallTier::Override => {
            "kprobe and bpf_override_return where the system call begins".into()
        }
    }
}

/// The same of a hook.
pub(super) fn named_hook(hook: OperationHook) -> String {
    format!("fmod_ret on {}", hook.function())
}

/// One line for the doctor about an operation.
pub(super) fn capability(fault: FaultKind, operation: Operation, support: &Support) -> Capability {
    let found = support.calls.get();
    Capability {
        fault,
        aspect: operation.word(),
        support: hook(operation, found).map(named_hook),
        caveats: counting(found),
    }
}

/// What some kernels meet and count less well.
pub(super) fn counting(found: &Found) -> Vec<std::borrow::Cow<'static, str>> {
    let close = "before Linux 5.18 two CPUs at once may count the same number";
    let missed = "a call is not met on a CPU where a thread was interrupted while a call of the same kind was judged (this kernel preempts itself)";
    // A probe is not interrupted.
    let is_interrupted = found.is_preemptible && found.syscalls != Ok(SyscallTier::Override);
    let caveats = [(!found.counts_exactly(), close), (is_interrupted, missed)];
    caveats.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text.into()).collect()
}

/// A rule about calls, before its conditions.
pub(super) struct Rule<'a> {
    /// Of what fails.
    pub(super) errno: Option<Errno>,
    pub(super) paths: &'a Paths,
    pub(super) caller: &'a Caller,
    pub(super) occasion: &'a Occasion,
    /// What else it asks for.
    pub(super) rule: CallRule,
    pub(super) remotes: (Remotes, Remotes),
    pub(super) about: String,
}

impl Rule<'_> {
    /// Rule and hooks.
    pub(super) fn effects(self, (calls, missing): (Calls, String), limits: &Limits) -> Vec<Effect> {
        let mut rule = CallRule {
            gate: limits.gate(self.occasion.dice(limits.seed)),
            errno: self.errno.map_or(0, |errno| errno.number().into()),
            ..self.rule
        };
        for call in &calls.syscalls {
            let number = usize::from(call.number());
            if let Some(word) = rule.calls.get_mut(number / 64) {
                *word |= 1 << (number % 64);
            }
        }
        rule.operations = calls.operations.iter().fold(0, |bits, one| bits | one.bit());
        let asks = [
            (!self.paths.include.is_empty(), Condition::Path),
            (!self.caller.exe.is_empty(), Condition::Exe),
            (self.caller.comm.is_some(), Condition::Comm),
        ];
        let asks = asks.into_iter().filter(|(asks, _)| *asks);
        rule.conditions |= asks.fold(0, |bits, (_, condition)| bits | condition as u32);
        if let Some(comm) = &self.caller.comm {
            let bytes = comm.as_str().as_bytes();
            rule.comm[..bytes.len()].copy_from_slice(bytes);
        }
        let spec = CallSpec {
            rule,
            paths: (self.paths.include.clone(), self.paths.except.clone()),
            programs: self.caller.exe.clone(),
            remotes: self.remotes,
            about: self.about,
            missing,
        };
        vec![
            Effect::PutCallRule(PutCallRule(Box::new(spec))),
            Effect::HookCalls(HookCalls(Box::new(calls))),
        ]
    }
}

/// What the kernel asks about when a system call is made, if its beginning cannot be met.
pub(super) fn operations_of(call: Syscall) -> BTreeSet<Operation> {
    let operations: &[Operation] = match call.name() {
        "open" | "openat" | "openat2" | "creat" => &[Operation::Open, Operation::Create],
        "read" | "readv" | "pread64" | "preadv" | "preadv2" => &[Operation::Read],
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => &[Operation::Write],
        "getdents" | "getdents64" => &[Operation::List],
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" => &[Operation::Stat],
        "rename" | "renameat" | "renameat2" => &[Operation::Rename],
        "link" | "linkat" => &[Operation::Link],
        "symlink" | "symlinkat" => &[Operation::Symlink],
        "unlink" | "unlinkat" => &[Operation::Unlink],
        "mkdir" | "mkdirat" => &[Operation::Mkdir],
        "rmdir" => &[Operation::Rmdir],
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" => &[Operation::Chmod],
        "chown" | "lchown" | "fchown" | "fchownat" => &[Operation::Chown],
        "truncate" | "ftruncate" => &[Operation::Truncate],
        "flock" => &[Operation::Lock],
        "ioctl" => &[Operation::Ioctl],
        "execve" | "execveat" => &[Operation::Exec],
        "clone" | "clone3" | "fork" | "vfork" => &[Operation::Fork],
        "socket" => &[Operation::Socket],
        "bind" => &[Operation::Bind],
        "connect" => &[Operation::Connect],
        "listen" => &[Operation::Listen],
        "accept" | "accept4" => &[Operation::Accept],
        "sendto" | "sendmsg" | "sendmmsg" => &[Operation::Send],
        "recvfrom" | "recvmsg" | "recvmmsg" => &[Operation::Receive],
        _ => &[],
    };
    operations.iter().copied().collect()
}
