//! What of calls can be made to fail on this kernel, found out by doing it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Arc, OnceLock},
};

use crate::{
    fail_point::{self, Feature},
    kernel::{
        bpf,
        btf::Btf,
        call::{operations::Hook, signatures},
    },
};
use chaos_common::value::Syscall;
use nix::sys::utsname::uname;

/// How a system call is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyscallTier {
    /// A program replaces what its function returns (`fmod_ret`).
    Replace,
    /// A program returns in its place (`bpf_override_return`).
    Override,
}

/// Which twin of each program a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Generation {
    New,
    Old,
}

impl Generation {
    pub(in crate::kernel) fn name(self, program: &str) -> String {
        match self {
            Self::New => program.to_owned(),
            Self::Old => format!("{program}_old"),
        }
    }
}

/// What works, and why not what does not. Looked for when somebody first asks.
#[derive(Clone, Debug, Default)]
pub struct CallSupport(Arc<OnceLock<Found>>);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// System calls, where they begin.
    pub syscalls: Result<SyscallTier, String>,
    /// What the kernel asks its security modules.
    pub operations: Result<(), String>,
    /// System calls of 32-bit programs, where they begin.
    pub compat: Result<(), String>,
    /// Functions of the kernel that programs may be attached to, with their numbers among its types.
    pub(in crate::kernel) functions: BTreeMap<String, u32>,
    /// Functions of the kernel that carry out system calls. Of some its types say nothing.
    symbols: BTreeSet<String>,
    pub(in crate::kernel) is_new: bool,
    /// A thread may be interrupted while its call is judged.
    pub is_preemptible: bool,
}

impl CallSupport {
    /// What works on this kernel.
    #[must_use]
    pub fn get(&self) -> &Found {
        self.0.get_or_init(probe)
    }

    /// As if this had been found.
    #[cfg(test)]
    pub(crate) fn known(found: Found) -> Self {
        let cell = OnceLock::new();
        let _ = cell.set(found);
        Self(Arc::new(cell))
    }
}

impl Found {
    /// Whether the kernel has a system call: whether some function carries it out. One that tells of no functions at all
    /// may have any.
    #[must_use]
    pub fn has_syscall(&self, call: Syscall) -> bool {
        let mut functions = signatures::functions(call).into_iter();
        self.symbols.is_empty() || functions.any(|function| self.symbols.contains(&function.name))
    }

    /// Whether a program can be attached to a function that carries out a call.
    #[must_use]
    pub fn meets_syscall(&self, call: Syscall) -> bool {
        let mut functions = signatures::functions(call).into_iter();
        functions.any(|function| self.meets(&function.name))
    }

    /// Whether a program can be attached to a function. A probe finds one by its symbol, any other by the kernel's types.
    pub(in crate::kernel) fn meets(&self, function: &str) -> bool {
        let is_probed =
            self.syscalls == Ok(SyscallTier::Override) && self.symbols.contains(function);
        is_probed || self.functions.contains_key(function)
    }

    /// Whether the kernel asks at a hook.
    pub(crate) fn has_hook(&self, hook: Hook) -> bool {
        self.functions.contains_key(hook.function())
    }

    /// Whether dice and budgets are exact on several CPUs.
    #[must_use]
    pub fn counts_exactly(&self) -> bool {
        self.is_new
    }

    pub(in crate::kernel) fn generation(&self) -> Generation {
        if self.is_new { Generation::New } else { Generation::Old }
    }

    /// Of a kernel that meets no system call where it begins.
    #[cfg(test)]
    pub(crate) fn operations_only() -> Self {
        Self { syscalls: Err("no way".into()), ..Self::everything() }
    }

    /// The same of a kernel without a system call.
    #[cfg(test)]
    pub(crate) fn without(mut self, call: &str) -> Self {
        for function in Syscall::named(call).into_iter().flat_map(signatures::functions) {
            self.functions.remove(&function.name);
            self.symbols.remove(&function.name);
        }
        self
    }

    /// The same where no program can be attached to it.
    #[cfg(test)]
    pub(crate) fn without_types_of(mut self, call: &str) -> Self {
        for function in Syscall::named(call).into_iter().flat_map(signatures::functions) {
            self.functions.remove(&function.name);
        }
        self
    }

    /// Of a kernel that tells nobody which functions it has.
    #[cfg(test)]
    pub(crate) fn nothing() -> Self {
        none("no types".into())
    }

    /// Of a kernel that lets nobody answer where it asks its security modules.
    #[cfg(test)]
    pub(crate) fn no_operations() -> Self {
        Self { operations: Err("no hooks".into()), ..Self::everything() }
    }

    /// Of a kernel that can do everything.
    #[cfg(test)]
    pub(crate) fn everything() -> Self {
        let calls = || Syscall::all().flat_map(signatures::functions).map(|function| function.name);
        let hooks = Hook::ALL.into_iter().map(|hook| hook.function().to_owned());
        Self {
            syscalls: Ok(SyscallTier::Replace),
            operations: Ok(()),
            compat: Ok(()),
            symbols: calls().collect(),
            functions: calls().chain(hooks).map(|name| (name, 1)).collect(),
            is_new: true,
            is_preemptible: false,
        }
    }
}

/// A function that carries out a call, by which it is tried whether those can be made to fail.
pub(super) const SYSCALL: &str = "__x64_sys_openat";
/// A function that asks security modules, likewise.
const OPERATION: &str = "security_file_open";

fn none(reason: String) -> Found {
    Found {
        syscalls: Err(reason.clone()),
        operations: Err(reason.clone()),
        compat: Err(reason),
        functions: BTreeMap::new(),
        symbols: BTreeSet::new(),
        is_new: false,
        is_preemptible: false,
    }
}

fn probe() -> Found {
    if !cfg!(target_arch = "x86_64") {
        return none("only x86-64 is known here".into());
    }
    let types = Btf::of_kernel();
    let Some(types) = types.parse() else {
        return none(
            "this kernel tells nobody which functions it has (CONFIG_DEBUG_INFO_BTF)".into(),
        );
    };
    let mut functions =
        types.functions(|name| is_of_syscall(name) || name.starts_with("security_"));
    let number = |function: &str| {
        functions.get(function).copied().ok_or_else(|| format!("this kernel has no {function}"))
    };
    let operation = number(OPERATION);
    let is_new = operation.clone().and_then(bpf::try_ancestors).is_ok();
    let operations = withheld(Feature::Operations).and(operation).and_then(bpf::try_replacing);
    let operations = operations.map_err(|reason| format!("fmod_ret on {OPERATION}: {reason}"));
    let replaced =
        withheld(Feature::Replace).and_then(|()| number(SYSCALL)).and_then(bpf::try_replacing);
    let syscalls = match replaced {
        Ok(()) => Ok(SyscallTier::Replace),
        Err(replace) => match withheld(Feature::Override).and_then(|()| bpf::try_overriding()) {
            Ok(()) => Ok(SyscallTier::Override),
            Err(over) => Err(format!("fmod_ret: {replace}; bpf_override_return: {over}")),
        },
    };
    // Of some functions old kernels do not know the arguments.
    functions.retain(|name, number| !is_hook(name) || bpf::try_replacing(*number).is_ok());
    let mut compat = Ok(());
    if syscalls == Ok(SyscallTier::Replace) {
        for prefix in signatures::PREFIXES {
            if let Err(reason) = try_prefix(prefix, &functions) {
                functions.retain(|name, _| !name.starts_with(prefix));
                compat = compat.and(Err(reason));
            }
        }
    }
    // As `PREEMPT`, `PREEMPT_DYNAMIC` or `PREEMPT_RT`.
    let is_preemptible =
        uname().is_ok_and(|name| name.version().to_string_lossy().contains("PREEMPT"));
    Found { syscalls, operations, compat, functions, symbols: symbols(), is_new, is_preemptible }
}

fn is_of_syscall(function: &str) -> bool {
    ["__x64_", "__ia32_", "__x32_"].iter().any(|start| function.starts_with(start))
}

/// What the kernel calls its functions for system calls; nothing if it does not say.
fn symbols() -> BTreeSet<String> {
    let lines = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let names = lines.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
    names.filter(|name| is_of_syscall(name)).map(str::to_owned).collect()
}

fn is_hook(function: &str) -> bool {
    Hook::ALL.into_iter().any(|hook| hook.function() == function)
}

/// Whether programs may replace what functions return whose names begin so; stock kernels let them only where 64-bit
/// programs call.
fn try_prefix(prefix: &str, functions: &BTreeMap<String, u32>) -> Result<(), String> {
    let mut named = functions.iter().filter(|(name, _)| name.starts_with(prefix));
    named.next().map_or(Ok(()), |(_, number)| bpf::try_replacing(*number))
}

fn withheld(feature: Feature) -> Result<(), String> {
    if fail_point::is_withheld(feature) { Err("withheld by a test".into()) } else { Ok(()) }
}
