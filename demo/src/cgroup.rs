//! The demo's own cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How long processes may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cgroup that is removed, with the processes in it, at the end.
#[derive(Debug)]
pub(crate) struct Cgroup {
    root: PathBuf,
    /// Below the mount, with a leading slash.
    path: String,
}

impl Cgroup {
    /// Makes one.
    pub(crate) fn make(root: &Path, path: String) -> Result<Self> {
        let cgroup = Self { root: root.to_owned(), path };
        let dir = cgroup.dir();
        fs::create_dir(&dir)
            .with_context(|| format!("cannot make the cgroup {}", dir.display()))?;
        Ok(cgroup)
    }

    /// As `chaos` names it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(self.path.trim_start_matches('/'))
    }

    /// Processes in it.
    pub(crate) fn pids(&self) -> Vec<i32> {
        let procs = fs::read_to_string(self.dir().join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Ends what runs in it and removes it. Gone already is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        let dir = self.dir();
        let deadline = Instant::now() + PATIENCE;
        while dir.exists() {
            for pid in self.pids() {
                // It may just have ended.
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            match fs::remove_dir(&dir) {
                Ok(()) => break,
                Err(error) if Instant::now() > deadline => {
                    return Err(error)
                        .with_context(|| format!("cannot remove the cgroup {}", dir.display()));
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("chaos-demo: left behind: {error:#}");
        }
    }
}
