//! The network namespace in which all traffic of the demo takes place. It has `lo` only.

use std::{
    fs::{self, File},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns, unshare};

use crate::tc;

const OWN: &str = "/proc/thread-self/ns/net";

/// The namespace: this thread, and the children it starts, are in it until [`NetNs::leave`].
#[derive(Debug)]
pub(crate) struct NetNs {
    home: File,
    inode: u64,
}

impl NetNs {
    /// Makes one and enters it.
    pub(crate) fn enter() -> Result<Self> {
        let home = File::open(OWN).context("cannot open the network namespace")?;
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let netns = Self { home, inode: fs::metadata(OWN)?.ino() };
        tc::set_loopback_up().context("cannot set lo up")?;
        Ok(netns)
    }

    /// Goes back. The kernel removes the namespace with the last process in it.
    pub(crate) fn leave(&self) -> Result<()> {
        setns(self.home.as_fd(), CloneFlags::CLONE_NEWNET)
            .context("cannot leave the network namespace")
    }

    /// How many processes of the machine are in it.
    pub(crate) fn processes(&self) -> Result<usize> {
        let entries = fs::read_dir("/proc").context("cannot list the processes")?;
        let is_inside = |entry: &fs::DirEntry| {
            fs::metadata(entry.path().join("ns/net")).is_ok_and(|meta| meta.ino() == self.inode)
        };
        let is_process =
            |entry: &fs::DirEntry| entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        Ok(entries.flatten().filter(|entry| is_process(entry) && is_inside(entry)).count())
    }
}
