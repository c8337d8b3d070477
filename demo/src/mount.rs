//! A mount namespace of the demo's own: what is mounted in it goes with the last process of the demo.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

/// Leaves the machine's mounts. Call it before any thread is started.
///
/// # Errors
/// When that is not allowed.
pub(crate) fn leave() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .context("cannot make the mounts private")
}

/// A bpffs, mounted as long as the value lives.
#[derive(Debug)]
pub(crate) struct Bpffs(PathBuf);

impl Bpffs {
    /// Makes the folder and mounts one there.
    pub(crate) fn mount(at: &Path) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        mount(Some("bpf"), at, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .with_context(|| format!("cannot mount a bpffs on {}", at.display()))?;
        Ok(Self(at.to_owned()))
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("chaos-demo: cannot unmount {}: {error}", self.0.display());
        }
    }
}

/// How many mounts there are at a folder or below it.
pub(crate) fn count_below(folder: &Path) -> Result<usize> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.filter(|point| Path::new(point).starts_with(folder)).count())
}

/// Where the whole of cgroup2 is mounted.
pub(crate) fn cgroup2() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    let found = table.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (filesystem.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    });
    let found = found.context("cgroup2 is mounted nowhere, and targets are cgroups of it")?;
    ensure!(found.join("cgroup.procs").exists(), "{} is no cgroup", found.display());
    Ok(found)
}
