//! Network namespaces of the tests' own. They live as long as somebody holds their descriptor.

use std::{
    fs::{self, File},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::PathBuf,
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns, unshare};

use super::Netlink;

/// A network namespace with `lo` up and ping sockets allowed.
#[derive(Debug)]
pub(crate) struct NetNs {
    file: File,
    netlink: Netlink,
}

impl NetNs {
    /// A new one.
    pub(crate) fn new() -> Result<Self> {
        Self::ready(on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot open the namespace")
        })?)
    }

    /// That of a process which has just made it.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/ns/net");
        Self::ready(File::open(&path).with_context(|| format!("cannot open {path}"))?)
    }

    fn ready(file: File) -> Result<Self> {
        let netlink = within(file.as_fd(), || {
            fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
                .context("cannot allow ping sockets")?;
            Netlink::open()
        })?;
        netlink.set_up("lo")?;
        Ok(Self { file, netlink })
    }

    /// Runs something inside.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        within(self.file.as_fd(), work)
    }

    /// Requests about its interfaces.
    pub(crate) fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// The namespace.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where another process finds it, as long as this value lives.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }
}

fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    on_a_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
        work()
    })
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|_| Err(anyhow!("a thread inside a namespace panicked")))
}
