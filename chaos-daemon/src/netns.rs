//! Work inside another network namespace, always on a thread that ends with it.

use std::{io, os::fd::BorrowedFd, thread};

use nix::sched::{CloneFlags, setns, unshare};

/// Runs `work` in the network namespace behind `namespace`.
///
/// The thread is thrown away afterwards, so that none of ours is ever left in a foreign namespace.
///
/// # Errors
/// When the namespace cannot be entered.
pub(crate) fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    on_a_thread(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })
}

/// Runs `work` in a fresh network namespace that ends with it.
///
/// # Errors
/// When no namespace can be made.
pub(crate) fn within_fresh<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Ok(work())
    })
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("netns".into()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the work panicked")))
    })
}
