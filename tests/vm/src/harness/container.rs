//! A container as runtimes make one: a tree of mounts of its own, entered by `pivot_root`.
//!
//! ```text
//! /           an overlay: `/etc/file` is of the image
//! ├─ data     a volume, which lies elsewhere on the host
//! ├─ proc     the host's
//! └─ vm-tests this very program
//! ```

use std::{
    fs::{self, File},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::{chdir, pivot_root},
};

use super::{Agent, Cgroup, Mounted, Place, own_binary, skip};

/// Where processes inside find this program.
const PROGRAM: &str = "/vm-tests";

/// The mounts live as long as the value, or a process in them.
#[derive(Debug)]
pub(crate) struct Container {
    mounts: File,
    // Unmounted last.
    ground: Mounted,
}

impl Container {
    /// Makes one; the folder is the test's own, and becomes its ground. Ends the test where there are no overlays.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let filesystems = fs::read_to_string("/proc/filesystems")?;
        if !filesystems.lines().any(|line| line.ends_with("\toverlay")) {
            return skip("this kernel has no overlay, on which containers live");
        }
        let ground = Mounted::new("tmpfs", folder, "mode=0755")?;
        for name in ["image/data", "image/etc", "image/proc", "upper", "work", "root", "volume"] {
            fs::create_dir_all(ground.path().join(name))?;
        }
        for name in ["image/vm-tests", "image/etc/file", "volume/file"] {
            fs::write(ground.path().join(name), name)?;
        }
        let (program, at) = (own_binary()?, ground.path());
        let mounts = thread::scope(|scope| scope.spawn(|| build(at, &program)).join())
            .unwrap_or_else(|_| Err(anyhow!("the thread that makes a container panicked")))?;
        Ok(Self { mounts, ground })
    }

    /// What is `/data` inside, as the host has it.
    pub(crate) fn volume(&self) -> PathBuf {
        self.ground.path().join("volume")
    }

    /// Starts a process inside, as `docker exec` does: in a cgroup first, then among its mounts.
    pub(crate) fn agent(&self, cgroup: &Cgroup) -> Result<Agent> {
        let mut command = Command::new(PROGRAM);
        command.arg("victim").current_dir("/");
        Place::default().cgroup(cgroup)?.mounts(self.mounts.as_fd())?.apply(&mut command);
        Agent::over(command)
    }
}

/// Makes the tree of mounts on this thread, which is good for nothing else then.
fn build(ground: &Path, program: &Path) -> Result<File> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let part = |name: &str| ground.join(name).display().to_string();
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", part("image"), part("upper"), part("work"));
    let root = ground.join("root");
    mount(Some("overlay"), &root, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))
        .context("cannot mount an overlay")?;
    for (from, to) in [
        (ground.join("volume").as_path(), "data"),
        (Path::new("/proc"), "proc"),
        (program, "vm-tests"),
    ] {
        mount(Some(from), &root.join(to), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
            .with_context(|| format!("cannot mount {} in a container", from.display()))?;
    }
    // The old root on top of the new one, and off it again: so runtimes do, and need no folder for it.
    chdir(&root)?;
    pivot_root(".", ".").context("cannot make the overlay the root")?;
    umount2(".", MntFlags::MNT_DETACH).context("cannot leave the old root")?;
    File::open("/proc/thread-self/ns/mnt").context("cannot open the mount namespace")
}
