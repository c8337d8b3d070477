//! What the kernel says of a process, and of the programs that it has loaded.

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result, bail};
use aya::programs::loaded_programs;

/// Memory of a process that is in RAM now, in MiB.
pub(crate) fn memory(pid: u32) -> Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let resident =
        number(&status, "VmRSS:").context("the kernel does not say how much memory it has")?;
    Ok(resident as f64 / 1024.0)
}

/// How often each of its threads has gone to sleep, by the thread's number.
pub(crate) type Sleeps = HashMap<String, u64>;

/// Counts them.
pub(crate) fn sleeps(pid: u32) -> Result<Sleeps> {
    let mut sleeps = HashMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("the process is gone")? {
        let thread = thread?;
        // It may just have ended.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        let count = number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        sleeps.insert(thread.file_name().to_string_lossy().into_owned(), count);
    }
    Ok(sleeps)
}

/// An eBPF program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Program {
    /// What the verifier looked at.
    pub(crate) verified: u64,
    /// As the kernel rewrote it.
    pub(crate) translated: u64,
    /// Time in it, while counted.
    pub(crate) run_ns: u64,
    /// Runs, while counted.
    pub(crate) runs: u64,
}

/// Where a program runs, as the kernel numbers the types of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `BPF_PROG_TYPE_SCHED_CLS`
    Out = 3,
    /// `BPF_PROG_TYPE_CGROUP_SKB`
    In = 8,
}

/// The program of this kind that a process holds; the daemon and the bench hold one of each.
pub(crate) fn program(pid: u32, kind: Kind) -> Result<Program> {
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo")).context("the process is gone")? {
        let Ok(info) = fs::read_to_string(descriptor?.path()) else { continue };
        if number(&info, "prog_type:") != Some(kind as u64) {
            continue;
        }
        let id = number(&info, "prog_id:");
        let mut all = loaded_programs().flatten();
        let known = all.find(|program| Some(u64::from(program.id())) == id);
        return Ok(Program {
            verified: number(&info, "verified_insns:").unwrap_or(0),
            // An instruction has eight bytes.
            translated: u64::from(known.and_then(|known| known.size_translated()).unwrap_or(0)) / 8,
            run_ns: number(&info, "run_time_ns:").unwrap_or(0),
            runs: number(&info, "run_cnt:").unwrap_or(0),
        });
    }
    bail!("process {pid} holds no program of the kind {kind:?}")
}

fn number(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}
