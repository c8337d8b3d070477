//! System calls, timed.

use std::{
    ffi::{CStr, CString},
    os::fd::OwnedFd,
    time::Instant,
};

use anyhow::{Result, ensure};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, openat},
    sys::stat::{Mode, umask},
};

/// Nanoseconds of opening and closing a file.
pub(super) fn open_and_close(path: &str, times: u32) -> Result<f64> {
    let path = CString::new(path)?;
    timed(times, || open(&path).map(drop))
}

/// The same of opening one that fails.
pub(super) fn open_in_vain(path: &str, times: u32) -> Result<f64> {
    let path = CString::new(path)?;
    let mut opened = 0;
    let time = timed(times, || match open(&path) {
        Err(Errno::EIO) => Ok(()),
        // A kernel that preempts itself does not ask about each: see the page of `syscall error`.
        Ok(_) => {
            opened += 1;
            Ok(())
        }
        Err(other) => Err(other),
    })?;
    ensure!(opened <= times / 20, "{opened} of {times} calls worked");
    Ok(time)
}

/// The same of `umask`, the cheapest call that has a function of the kernel to itself.
pub(super) fn cheapest(times: u32) -> Result<f64> {
    let usual = umask(Mode::S_IWGRP | Mode::S_IWOTH);
    timed(times, || {
        let _ = umask(usual);
        Ok(())
    })
}

/// How many of so many calls fail.
pub(super) fn failures(path: &str, times: u32) -> Result<u32> {
    let path = CString::new(path)?;
    let attempt = || open(&path);
    Ok((0..times).filter(|_| attempt().is_err()).count() as u32)
}

/// Some libraries make of `open` a call of its own.
fn open(path: &CStr) -> nix::Result<OwnedFd> {
    openat(AT_FDCWD, path, OFlag::O_RDONLY, Mode::empty())
}

fn timed(times: u32, mut call: impl FnMut() -> nix::Result<()>) -> Result<f64> {
    ensure!(times > 0, "nothing to do");
    let begin = Instant::now();
    for _ in 0..times {
        call()?;
    }
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(times))
}
