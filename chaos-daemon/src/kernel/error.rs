//! What the kernel refused.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use nix::errno::Errno;

use super::RuleId;

/// A change to the kernel that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The object was not accepted.
    #[error("load the eBPF object: {0}{hint}", hint = privilege_hint(.0))]
    Load(#[source] EbpfError),
    /// The object is not what the kernel or its loader takes.
    #[error("load the eBPF object: {0}")]
    Object(String),
    /// The object lacks something, which only a wrong build can cause.
    #[error("the eBPF object has no {0}")]
    Missing(&'static str),
    /// The verifier or the kernel's configuration refused a program.
    #[error("load program {program}: {source}")]
    Program {
        /// Which program.
        program: &'static str,
        /// Why.
        source: ProgramError,
    },
    /// A map was not read or written.
    #[error("{what}: {source}")]
    Map {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: MapError,
    },
    /// A target cannot take another rule.
    #[error(
        "cgroup {cgroup} has {rules} rules already, which is the most; recover one of its injections first"
    )]
    TargetFull {
        /// The cgroup's path.
        cgroup: String,
        /// How many.
        rules: usize,
    },
    /// The tables are full.
    #[error(
        "there are {rules} rules on this node already, which is the most; recover some injections first"
    )]
    NodeFull {
        /// How many.
        rules: u32,
    },
    /// The table of address ranges is full.
    #[error(
        "there is no room for more {0} on this node; recover some injections first, or give fewer"
    )]
    PrefixesFull(&'static str),
    /// Patterns that no automaton of ours has room for.
    #[error("{0}")]
    Patterns(String),
    /// The kernel does not say how its structures look.
    #[error(
        "this kernel does not tell where `{member}` of `{structure}` is (CONFIG_DEBUG_INFO_BTF), which a program has to read"
    )]
    NoTypes {
        /// Of the kernel.
        structure: &'static str,
        /// Of the structure.
        member: &'static str,
    },
    /// Targets sit at too many depths.
    #[error(
        "cgroup {cgroup} is at depth {level}, and targets sit at {levels} other depths already, which is the most; recover the injections of one depth first"
    )]
    TooManyLevels {
        /// The cgroup's path.
        cgroup: String,
        /// Its depth.
        level: u32,
        /// How many depths are in use.
        levels: usize,
    },
    /// A hook was not attached or detached.
    #[error("{what} {place}: {reason}")]
    Hook {
        /// What was tried.
        what: &'static str,
        /// Interface or cgroup.
        place: String,
        /// Why not.
        reason: String,
    },
    /// Somebody has a port.
    #[error("{port} is taken{by}; free it first, or take another port")]
    PortTaken {
        /// Which.
        port: String,
        /// By whom, as far as it can be found out.
        by: String,
    },
    /// A rule has a port already.
    #[error("{port} is held for rule {rule} already", rule = .rule.0)]
    PortHeld {
        /// Which.
        port: String,
        /// For which rule.
        rule: RuleId,
    },
    /// A port was not taken.
    #[error("take {port}: {source}{hint}", hint = port_hint(source))]
    Port {
        /// Which.
        port: String,
        /// Why not.
        source: io::Error,
    },
    /// A target without processes has no network namespace.
    #[error(
        "no process is in cgroup {cgroup}, so there is no network in which to take a port; start one first"
    )]
    TargetEmpty {
        /// The cgroup's path.
        cgroup: String,
    },
    /// Something under bpffs.
    #[error("{what} {path}: {source}", path = path.display())]
    Pin {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon's pins.
    #[error("another chaos-daemon has its pins at {path}; stop it, or name another bpffs with --bpffs", path = .0.display())]
    PinsInUse(PathBuf),
    /// Somebody else made what is to be ours.
    #[error("{path} belongs to somebody else, and whoever owns it could end faults or fake them; remove it, or name another bpffs with --bpffs", path = .0.display())]
    ForeignPins(PathBuf),
    /// The pin directory is no bpffs.
    #[error("{path} is no bpffs; mount one there (`mkdir -p {path} && mount -t bpf bpf {path}`), or name another with --bpffs", path = .0.display())]
    NoBpffs(PathBuf),
}

fn privilege_hint(error: &EbpfError) -> &'static str {
    let text = format!("{error:?}");
    if text.contains("PermissionDenied") {
        " (run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN; before Linux 5.11 also with an unlimited RLIMIT_MEMLOCK)"
    } else {
        ""
    }
}

fn port_hint(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        Some(Errno::EADDRNOTAVAIL) => " (the target's network has no such address)",
        Some(Errno::EMFILE) => " (raise the daemon's limit of open files)",
        Some(_) | None => "",
    }
}

/// What the kernel said, without the layers above it.
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
