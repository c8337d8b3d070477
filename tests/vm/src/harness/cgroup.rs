//! Cgroups of the tests' own, below the cgroup2 mount.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::poll;

/// Where cgroup2 is mounted, every place.
pub(crate) fn mounts() -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
    let fields = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    Ok(fields
        .filter(|field| field.get(2) == Some(&"cgroup2"))
        .map(|field| field[1].into())
        .collect())
}

/// Where the tests see cgroup2.
pub(crate) fn mount() -> Result<PathBuf> {
    mounts()?.into_iter().next().context("cgroup2 is mounted nowhere")
}

/// A cgroup that is removed, with everything in it, at the end.
#[derive(Debug)]
pub(crate) struct Cgroup {
    root: PathBuf,
    /// Below the mount, with a leading slash.
    path: String,
}

impl Cgroup {
    /// A new one below the root: `chaos-test-<pid>-<number>`.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = mount()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::make(root, format!("/chaos-test-{}-{number}", std::process::id()))
    }

    /// A new one inside.
    pub(crate) fn child(&self, name: &str) -> Result<Self> {
        Self::make(self.root.clone(), format!("{}/{name}", self.path))
    }

    /// One that somebody else left, to be removed as if it were ours.
    pub(crate) fn left(dir: &Path) -> Result<Self> {
        let root = mount()?;
        let below = dir.strip_prefix(&root).context("this is no cgroup")?;
        let path = format!("/{}", below.display());
        Ok(Self { root, path })
    }

    fn make(root: PathBuf, path: String) -> Result<Self> {
        let cgroup = Self { root, path };
        let dir = cgroup.dir();
        fs::create_dir(&dir)
            .with_context(|| format!("cannot make the cgroup {}", dir.display()))?;
        Ok(cgroup)
    }

    /// As the daemon wants it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.root.join(self.path.trim_start_matches('/'))
    }

    /// The kernel's id of it.
    pub(crate) fn id(&self) -> Result<u64> {
        Ok(fs::metadata(self.dir()).context("the cgroup is gone")?.ino())
    }

    /// Moves a process in.
    pub(crate) fn adopt(&self, pid: u32) -> Result<()> {
        let procs = self.dir().join("cgroup.procs");
        fs::write(&procs, pid.to_string())
            .with_context(|| format!("cannot move {pid} to {}", procs.display()))
    }

    /// Removes it now, ending whatever runs in it.
    pub(crate) fn remove(&self) -> Result<()> {
        let dir = self.dir();
        poll::until_ok("a cgroup to be empty", Duration::from_secs(10), || Ok(empty(&dir)?))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("vm-tests: left behind: {error:#}");
        }
    }
}

/// Removes a cgroup and those below it, ending what runs there.
pub(crate) fn empty(dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            empty(&entry.path())?;
        }
    }
    let pids = fs::read_to_string(dir.join("cgroup.procs"))?;
    for pid in pids.lines().filter_map(|line| line.parse().ok()) {
        // It may just have ended.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    fs::remove_dir(dir)
}
