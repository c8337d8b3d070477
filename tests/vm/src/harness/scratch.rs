//! Folders and filesystems of one test.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;

use super::{Pins, check_pins, daemon};

/// Puts this process, and all it starts, into a mount namespace of its own: whatever a test mounts
/// goes when the tests end, however they end. Call it before any thread is started.
///
/// # Errors
/// When that is not allowed.
pub(crate) fn own_mounts() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)
        .context("cannot make a mount namespace; behaviour tests run as root")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .context("cannot make the mounts private")
}

/// A folder with a bpffs and a place for the daemon's state. It is removed at the end.
#[derive(Debug)]
pub(crate) struct Scratch {
    // Unmounted before the folder is removed.
    bpffs: Mounted,
    dir: TempDir,
}

impl Scratch {
    /// Makes one.
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("chaos-test-")
            .tempdir()
            .context("cannot make a folder")?;
        // Others than root shall come as far as the daemon lets them.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let bpffs = Mounted::new("bpf", &dir.path().join("bpf"), "mode=0700")?;
        Ok(Self { bpffs, dir })
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The bpffs.
    pub(crate) fn bpffs(&self) -> &Path {
        self.bpffs.path()
    }

    /// Where the daemon keeps its state unless told otherwise.
    pub(crate) fn state(&self) -> PathBuf {
        self.join("state")
    }

    /// Where the daemon listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.join("chaos.sock")
    }

    /// Fails when a daemon that has ended left anything here.
    pub(crate) fn clean(&self) -> Result<()> {
        check_pins(self.bpffs(), Pins::None)?;
        let journal = daemon::journal(&self.state())?;
        ensure!(journal.is_empty(), "the journal still holds {journal:?}");
        ensure!(!self.socket().exists(), "the socket is left");
        Ok(())
    }
}

/// A filesystem that is mounted as long as the value lives.
#[derive(Debug)]
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// Makes the folder and mounts a filesystem there.
    pub(crate) fn new(kind: &str, at: &Path, options: &str) -> Result<Self> {
        fs::create_dir_all(at).with_context(|| format!("cannot make {}", at.display()))?;
        mount(Some(kind), at, Some(kind), MsFlags::empty(), Some(options))
            .with_context(|| format!("cannot mount {kind} on {}", at.display()))?;
        Ok(Self(at.to_owned()))
    }

    /// Where.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Covers a folder of it by a read-only view of the same folder, as long as the value lives.
    pub(crate) fn lid(&self, at: &Path) -> Result<Self> {
        let flags = MsFlags::MS_BIND;
        mount(Some(at), at, None::<&str>, flags, None::<&str>)
            .context("cannot mount a folder over itself")?;
        let lid = Self(at.to_owned());
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
            .context("cannot make a mount read-only")?;
        Ok(lid)
    }

    /// Makes it read-only.
    pub(crate) fn read_only(&self) -> nix::Result<()> {
        mount(
            None::<&str>,
            &self.0,
            None::<&str>,
            MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
            None::<&str>,
        )
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("vm-tests: cannot unmount {}: {error}", self.0.display());
        }
    }
}
