//! Runs a command in a cgroup of its own with faults on it, by an engine inside this process.
//!
//! The command's process is made first and held at a gate, put into the cgroup, and let go once every
//! fault is active: no packet of it goes unjudged. What the engine keeps outside of this process is inert
//! within seconds of its end, so that even `kill -9` leaves no fault behind.

mod by_number;
mod cgroup;
mod cgroup_tree;
mod child;
mod signals;

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use chaos_common::{
    injection::Injection,
    invalid::causes,
    spec::{Spec, Untargeted},
    target::Target,
    value::Lifetime,
};
use chaos_daemon::{
    engine::{Config, Engine, Parting, Which},
    policy::Policy,
    target::CgroupRoot,
};

use nix::errno::Errno;

pub(crate) use cgroup::FreshCgroup;
pub(crate) use child::{Child, held};
pub(crate) use signals::Signals;

/// How long faults go on if this process is stopped. A third of it is how soon a network namespace is
/// noticed that the command makes for itself.
const LEASE: Duration = Duration::from_secs(3);

/// Who injects, in messages of the engine.
pub(crate) const WHO: &str = "chaos exec";

/// A command and the faults that it shall see.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) faults: Vec<Untargeted>,
    pub(crate) command: Vec<OsString>,
    /// Whether to say on standard error what the faults did.
    pub(crate) summary: Summary,
}

/// Whether to say what the faults did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    Print,
    Omit,
}

/// Runs the command and gives its exit code; 128 and the signal's number if one ended it.
///
/// # Errors
/// When a fault could not be made; the command has not run then.
pub(crate) fn run(job: Job) -> anyhow::Result<ExitCode> {
    run_within_limits(job).map_err(with_remedy)
}

/// Says what to do about an error of the engine, if it is about this process.
pub(crate) fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    if is_out_of_files(&error) {
        let said = causes(error.as_ref());
        anyhow!("{said}; let more files be open, as with `ulimit -n 4096`")
    } else {
        error
    }
}

/// Whether this process may do what it has to.
///
/// # Errors
/// When it may not.
pub(crate) fn needs_root() -> anyhow::Result<()> {
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "chaos exec loads eBPF programs, which takes root; run it with sudo"
    );
    Ok(())
}

/// An engine inside this process: what it has on the node ends with it.
pub(crate) fn engine(root: CgroupRoot, policy: Policy) -> anyhow::Result<Arc<Engine>> {
    Ok(Engine::start(Config { root, policy, lease: LEASE, durable: None })?)
}

fn is_out_of_files(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| match cause.downcast_ref::<io::Error>() {
        Some(io) => io.raw_os_error() == Some(Errno::EMFILE as i32),
        None => cause.downcast_ref() == Some(&Errno::EMFILE),
    })
}

fn run_within_limits(job: Job) -> anyhow::Result<ExitCode> {
    needs_root()?;
    // Before any thread begins, so that all of them leave the signals to us.
    let signals = Signals::block().context("cannot take over the signals")?;
    let root = CgroupRoot::find()?;
    let cgroup = FreshCgroup::make(&root)?;
    let engine = engine(root, Policy::of_own_children())?;
    let mut child = Child::start(&job.command)?;
    let made = cgroup
        .take_in(child.pid())
        .and_then(|()| inject(&engine, &job.faults, &cgroup))
        .and_then(|()| child.release());
    let code = match made {
        Ok(()) => signals.wait_for(&mut child),
        Err(error) => {
            child.abandon();
            Err(error)
        }
    };
    let summary = match job.summary {
        Summary::Print => describe(&engine),
        Summary::Omit => Vec::new(),
    };
    let left = engine.stop(Parting::Recover, WHO);
    for line in summary {
        say(line);
    }
    tell_of(&left);
    cgroup.remove();
    code
}

/// Names what could not be undone.
pub(crate) fn tell_of(left: &[Injection]) {
    for injection in left {
        say(format_args!("chaos: {} could not be undone: {}", injection.id, injection.message));
    }
}

fn inject(engine: &Arc<Engine>, faults: &[Untargeted], cgroup: &FreshCgroup) -> anyhow::Result<()> {
    for untargeted in faults {
        let Untargeted { fault, duration, times, seed } = untargeted.clone();
        let spec = Spec {
            target: Target::Cgroup(cgroup.path().clone()),
            fault,
            duration: duration.unwrap_or(Lifetime::MAX),
            times,
            seed,
        };
        let injection = engine.inject(None, spec, WHO)?;
        if !injection.message.is_empty() {
            say(format_args!("chaos: left out: {}", injection.message));
        }
    }
    Ok(())
}

/// Writes a line to standard error, if anybody reads it: a terminal that hung up does not keep us from
/// clearing away.
pub(crate) fn say(line: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn describe(engine: &Engine) -> Vec<String> {
    let injections = engine.list(Which::AlsoEnded);
    let line = |injection: &Injection| {
        let (fault, counters) = (&injection.spec.fault, injection.counters);
        if !fault.has_events() {
            return format!("chaos: {fault}");
        }
        format!(
            "chaos: {fault} (seed {}): matched {}, fired {}",
            injection.seed, counters.matched, counters.fired
        )
    };
    injections.iter().map(line).collect()
}
