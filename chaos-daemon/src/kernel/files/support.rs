//! Whether calls on files can wait on this kernel, found out by doing it.

use std::{
    fs,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

use chaos_common::abi::Operation;
use nix::{
    errno::Errno,
    sys::{
        fanotify::{Fanotify, MarkFlags, MaskFlags},
        memfd::{MFdFlags, memfd_create},
    },
};

use super::{process::group, view::by_descriptor};

/// The first PID namespace, in which the programs know threads by their ids.
const FIRST_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What can be held, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSupport {
    /// What is opened and read.
    reads: Result<(), String>,
    /// What is written.
    writes: Result<(), String>,
}

impl FileSupport {
    pub(in crate::kernel) fn probe() -> Self {
        let ids = match fs::metadata("/proc/self/ns/pid") {
            Ok(namespace) if namespace.ino() == FIRST_PID_NAMESPACE => Ok(()),
            Ok(_) => Err("it needs the host's process ids; run the daemon in the host's PID namespace (hostPID: true)".to_owned()),
            Err(error) => Err(format!("read /proc/self/ns/pid: {error}")),
        };
        Self { reads: ids.clone().and_then(|()| reads()), writes: ids.and_then(|()| writes()) }
    }

    /// Whether something can be held.
    ///
    /// # Errors
    /// Why not.
    pub fn can_hold(&self, operation: Operation) -> Result<(), String> {
        if operation == Operation::Write { self.writes.clone() } else { self.reads.clone() }
    }

    /// Of a kernel that can do everything.
    #[cfg(test)]
    pub(crate) fn full() -> Self {
        Self { reads: Ok(()), writes: Ok(()) }
    }

    /// Of one before Linux 6.14.
    #[cfg(test)]
    pub(crate) fn no_writes() -> Self {
        Self { writes: Err("too old".into()), ..Self::full() }
    }
}

fn reads() -> Result<(), String> {
    let (group, events) = group(true, true, false).map_err(refused)?;
    mark(&group, events).map_err(refused)
}

fn writes() -> Result<(), String> {
    let (group, events) = group(false, false, true).map_err(refused)?;
    match mark(&group, events) {
        // Known, but nothing for a file in memory.
        Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(Errno::EINVAL) => Err("this kernel asks nobody before something is written (FAN_PRE_ACCESS came with Linux 6.14)".into()),
        Err(errno) => Err(refused(errno)),
    }
}

/// A file that nobody else has: old kernels refuse what lies in `/proc`.
fn mark(group: &Fanotify, events: MaskFlags) -> nix::Result<()> {
    let file = memfd_create("chaos-probe", MFdFlags::MFD_CLOEXEC)?;
    let (directory, path) = by_descriptor(file.as_raw_fd());
    group.mark(MarkFlags::FAN_MARK_ADD, events, directory, Some(path.as_str()))
}

fn refused(errno: Errno) -> String {
    if errno == Errno::EINVAL {
        "this kernel lets nobody hold calls on files (CONFIG_FANOTIFY_ACCESS_PERMISSIONS)".into()
    } else if errno == Errno::ENOSYS {
        "this kernel has no fanotify (CONFIG_FANOTIFY)".into()
    } else if errno == Errno::EPERM {
        "it needs CAP_SYS_ADMIN".into()
    } else {
        format!("fanotify: {errno}")
    }
}
