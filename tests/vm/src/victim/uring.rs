//! Calls by way of `io_uring`.

use anyhow::{Context as _, Result, bail};
use io_uring::{IoUring, opcode, types::Fd};

use crate::harness::uring;

/// Does one operation and waits for it. What the kernel gives back: a negative errno where it failed.
pub(super) fn run(number: i64, words: &[u64; 6]) -> Result<i64> {
    let mut ring = IoUring::new(4).context("this kernel has no io_uring")?;
    let [a, b, c, ..] = *words;
    let entry = match number {
        uring::OPENAT => opcode::OpenAt::new(Fd(a as i32), b as *const _).flags(c as i32).build(),
        uring::READ => opcode::Read::new(Fd(a as i32), b as *mut u8, c as u32).build(),
        uring::WRITE => opcode::Write::new(Fd(a as i32), b as *const u8, c as u32).build(),
        uring::FSYNC => opcode::Fsync::new(Fd(a as i32)).build(),
        _ => bail!("there is no operation {number}"),
    };
    // SAFETY: what the entry points to is there until the operation is over, which is waited for.
    unsafe { ring.submission().push(&entry).context("the ring is full")? };
    ring.submit_and_wait(1).context("the ring does not work")?;
    let done = ring.completion().next().context("nothing came of it")?;
    Ok(done.result().into())
}
