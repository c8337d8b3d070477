//! The demo's other processes. Each joins its cgroup itself, before it makes a socket: a socket belongs to the
//! cgroup in which it is made.

pub(crate) mod r#become;
pub(crate) mod load;
pub(crate) mod serve;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};

/// Moves this process into a cgroup, and lets it die with the demo.
fn take_place(cgroup: &Path) -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("cannot tie this process to the demo")?;
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, "0").with_context(|| format!("cannot move to {}", procs.display()))
}
