//! Where a child process starts: in which cgroup, which namespaces and as whom.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MntFlags, umount2},
    sched::{CloneFlags, setns, unshare},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{Gid, Uid, chdir, chroot, setgid, setgroups, setuid},
};

use super::{Cgroup, NetNs, Unit, cgroup};

/// A place to start in; the default is where the tests themselves run.
#[derive(Default)]
pub(crate) struct Place {
    cgroup: Option<File>,
    netns: Option<OwnedFd>,
    own_netns: bool,
    own_mounts: bool,
    mounts: Option<OwnedFd>,
    user: Option<u32>,
    group: Option<u32>,
    hidden: Vec<CString>,
    root: Option<PathBuf>,
    unit: Option<Unit>,
}

impl Place {
    /// In a cgroup, so that every socket is born in it.
    pub(crate) fn cgroup(mut self, cgroup: &Cgroup) -> Result<Self> {
        let procs = cgroup.dir().join("cgroup.procs");
        let file = OpenOptions::new().write(true).open(&procs);
        self.cgroup = Some(file.with_context(|| format!("cannot open {}", procs.display()))?);
        Ok(self)
    }

    /// In a network namespace.
    pub(crate) fn netns(mut self, netns: &NetNs) -> Result<Self> {
        self.netns = Some(netns.fd().try_clone_to_owned().context("cannot copy a descriptor")?);
        Ok(self)
    }

    /// In a network namespace that it makes itself.
    pub(crate) fn own_netns(mut self) -> Self {
        self.own_netns = true;
        self
    }

    /// In a mount namespace that it makes itself.
    pub(crate) fn own_mounts(mut self) -> Self {
        self.own_mounts = true;
        self
    }

    /// Among the mounts of another namespace, at their root.
    pub(super) fn mounts(mut self, mounts: BorrowedFd<'_>) -> Result<Self> {
        self.mounts = Some(mounts.try_clone_to_owned().context("cannot copy a descriptor")?);
        Ok(self)
    }

    /// As a user without any privilege, of one group.
    pub(crate) fn user(mut self, user: u32, group: u32) -> Self {
        (self.user, self.group) = (Some(user), Some(group));
        self
    }

    /// On a machine that has no cgroup2 mounted.
    pub(crate) fn without_cgroup2(mut self) -> Result<Self> {
        for mount in cgroup::mounts()? {
            self.hidden.push(CString::new(mount.into_os_string().into_encoded_bytes())?);
        }
        Ok(self)
    }

    /// With another directory for the root of all files.
    pub(crate) fn root(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// With no more than what a systemd unit leaves to its service.
    pub(crate) fn unit(mut self, unit: Unit) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Makes a command start here. It is killed when the thread that starts it ends.
    pub(crate) fn apply(self, command: &mut Command) {
        let enter = move || -> io::Result<()> {
            if let Some(mut procs) = self.cgroup.as_ref() {
                procs.write_all(b"0")?;
            }
            if let Some(netns) = &self.netns {
                setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?;
            }
            if self.own_netns {
                unshare(CloneFlags::CLONE_NEWNET)?;
            }
            if let Some(mounts) = &self.mounts {
                setns(mounts.as_fd(), CloneFlags::CLONE_NEWNS)?;
            }
            if self.own_mounts || !self.hidden.is_empty() {
                unshare(CloneFlags::CLONE_NEWNS)?;
            }
            for mount in &self.hidden {
                umount2(mount.as_c_str(), MntFlags::MNT_DETACH)?;
            }
            if let Some(root) = &self.root {
                chroot(root)?;
                chdir("/")?;
            }
            if let Some(group) = self.group {
                setgroups(&[])?;
                setgid(Gid::from_raw(group))?;
            }
            if let Some(user) = self.user {
                setuid(Uid::from_raw(user))?;
            }
            if let Some(unit) = &self.unit {
                unit.enter()?;
            }
            set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        };
        // SAFETY: between fork and exec the closure makes system calls only; it neither allocates nor
        // takes a lock.
        unsafe { command.pre_exec(enter) };
    }
}
