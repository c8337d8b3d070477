//! What the kernel says of a process, and of the programs that it has loaded.

use std::{collections::HashMap, fs};

use anyhow::{Context as _, Result};
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

/// The program of this name that a process holds.
pub(crate) fn program(pid: u32, name: &str) -> Result<Program> {
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo")).context("the process is gone")? {
        let Ok(info) = fs::read_to_string(descriptor?.path()) else { continue };
        let Some(id) = number(&info, "prog_id:").and_then(|id| u32::try_from(id).ok()) else {
            continue;
        };
        let known = loaded_programs().flatten().find(|program| program.id() == id);
        let Some(known) = known.filter(|program| program.name_as_str() == Some(name)) else {
            continue;
        };
        return Ok(Program {
            verified: number(&info, "verified_insns:").unwrap_or(0),
            // An instruction has eight bytes.
            translated: u64::from(known.size_translated().unwrap_or(0)) / 8,
            run_ns: number(&info, "run_time_ns:").unwrap_or(0),
            runs: number(&info, "run_cnt:").unwrap_or(0),
        });
    }
    anyhow::bail!("process {pid} holds no program {name}")
}

fn number(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}
