//! Calls by way of `io_uring`.

use anyhow::{Context as _, Result, bail};
use io_uring::{
    IoUring, opcode,
    squeue::Flags,
    types::{Fd, Fixed},
};

use super::deed::Entry;
use crate::harness::uring;

/// How long a thread that polls does so before it sleeps, in ms.
const AWAKE: u32 = 10;

/// Does one operation and waits for it. What the kernel gives back: a negative errno where it failed.
pub(super) fn run(entry: Entry, number: i64, words: &[u64; 6]) -> Result<i64> {
    let mut builder = IoUring::builder();
    if entry == Entry::UringPoller {
        builder.setup_sqpoll(AWAKE);
    }
    let mut ring: IoUring = builder.build(4).context("this kernel has no io_uring")?;
    let [a, b, c, ..] = *words;
    let is_fixed = entry == Entry::UringPoller && number != uring::OPENAT;
    if is_fixed {
        // Old kernels poll for no others.
        ring.submitter().register_files(&[a as i32]).context("no file is registered")?;
    }
    macro_rules! on_file {
        ($operation:ident $(, $argument:expr)*) => {
            if is_fixed {
                opcode::$operation::new(Fixed(0) $(, $argument)*).build()
            } else {
                opcode::$operation::new(Fd(a as i32) $(, $argument)*).build()
            }
        };
    }
    let operation = match number {
        uring::OPENAT => opcode::OpenAt::new(Fd(a as i32), b as *const _).flags(c as i32).build(),
        uring::READ => on_file!(Read, b as *mut u8, c as u32),
        uring::WRITE => on_file!(Write, b as *const u8, c as u32),
        uring::FSYNC => on_file!(Fsync),
        _ => bail!("there is no operation {number}"),
    };
    let flags = if entry == Entry::UringWorker { Flags::ASYNC } else { Flags::empty() };
    // SAFETY: what the entry points to is there until the operation is over, which is waited for.
    unsafe { ring.submission().push(&operation.flags(flags)).context("the ring is full")? };
    ring.submit_and_wait(1).context("the ring does not work")?;
    let done = ring.completion().next().context("nothing came of it")?;
    Ok(done.result().into())
}
