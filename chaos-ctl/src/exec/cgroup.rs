//! A cgroup for one run, below the one we are in, so that its limits go on to hold.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;
use chaos_common::target::CgroupPath;
use chaos_daemon::target::{self, CgroupRoot};
use nix::unistd::Pid;

const PREFIX: &str = "chaos-exec-";

/// A cgroup of our own; removed when dropped, if nothing lives in it.
pub(super) struct FreshCgroup {
    path: CgroupPath,
    dir: PathBuf,
    /// Where processes go that outlive the command.
    parent: PathBuf,
}

impl FreshCgroup {
    /// Makes it, and removes those that earlier runs were killed too hard to remove.
    pub(super) fn make(root: &CgroupRoot) -> anyhow::Result<Self> {
        let own = target::of_process(process::id()).context("cannot find our own cgroup")?;
        let parent = root.dir(&own);
        sweep(&parent);
        let name = format!("{PREFIX}{}", process::id());
        let path: CgroupPath = format!("{}/{name}", own.as_str().trim_end_matches('/'))
            .parse()
            .context("cannot name a cgroup below our own")?;
        let dir = parent.join(name);
        fs::create_dir(&dir)
            .with_context(|| format!("cannot make the cgroup {}", dir.display()))?;
        Ok(Self { path, dir, parent })
    }

    pub(super) fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Moves a process in.
    pub(super) fn take_in(&self, pid: Pid) -> anyhow::Result<()> {
        move_into(&self.dir, pid.as_raw()).with_context(|| {
            format!("cannot move the command into the cgroup {}", self.dir.display())
        })
    }

    /// Removes it. What the command left running goes on outside, and is named.
    pub(super) fn remove(self) {
        let pids = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        let pids: Vec<i32> = pids.lines().filter_map(|line| line.parse().ok()).collect();
        if !pids.is_empty() {
            eprintln!(
                "chaos: the command left processes running; they go on without the fault: {pids:?}"
            );
        }
        for pid in pids {
            // One that has ended meanwhile is fine.
            let _ = move_into(&self.parent, pid);
        }
    }
}

impl Drop for FreshCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.dir) {
            eprintln!("chaos: cannot remove the cgroup {}: {error}", self.dir.display());
        }
    }
}

fn move_into(dir: &Path, pid: i32) -> io::Result<()> {
    fs::write(dir.join("cgroup.procs"), pid.to_string())
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // Fails while the command's processes live on in it.
            let _ = fs::remove_dir(entry.path());
        }
    }
}
