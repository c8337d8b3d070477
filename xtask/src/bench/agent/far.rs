//! Work on the other side of a wire.

use std::{fs::File, thread};

use anyhow::{Result, anyhow};
use nix::sched::{CloneFlags, setns};

/// Runs something in the network namespace of this file, and here if it is `-`.
pub(super) fn within<T: Send>(netns: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let there = || {
        if netns != "-" {
            setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
        }
        work()
    };
    // Only this thread goes there.
    thread::scope(|scope| scope.spawn(there).join()).map_err(|_| anyhow!("the thread panicked"))?
}
