//! Signals by the kernel's numbers, 1 to 64: nix has no names for real-time signals, and a C library
//! takes some away from sets of signals (musl 34, which glibc calls SIGRTMIN).
#![expect(unsafe_code, reason = "nix has no calls for signals without a name")]

use std::{io, os::fd::FromRawFd as _, os::fd::OwnedFd, ptr};

use nix::{
    libc::{self, c_int},
    sys::signalfd::SignalFd,
    unistd::Pid,
};

/// Size of the kernel's `sigset_t`: one bit for each signal.
const SET_BYTES: usize = size_of::<u64>();

/// A set as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set(u64);

impl Set {
    /// Every signal but some.
    pub(super) fn all_but(left_out: &[c_int]) -> Self {
        Self(left_out.iter().fold(u64::MAX, |set, number| set & !(1 << (number - 1))))
    }

    /// Blocks these signals in this thread, and in those that it makes from now on.
    pub(super) fn block(self) -> io::Result<()> {
        let old: *mut u64 = ptr::null_mut();
        // SAFETY: the kernel reads as many bytes as the set has, and writes no old set to null.
        let done = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, &self.0, old, SET_BYTES)
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Where blocked signals are read.
    pub(super) fn fd(self) -> io::Result<SignalFd> {
        // SAFETY: the kernel reads as many bytes as the set has; -1 asks for a new descriptor.
        let fd = unsafe {
            libc::syscall(libc::SYS_signalfd4, -1, &self.0, SET_BYTES, libc::SFD_CLOEXEC)
        };
        let fd = c_int::try_from(fd).ok().filter(|fd| *fd >= 0);
        let fd = fd.ok_or_else(io::Error::last_os_error)?;
        // SAFETY: it was opened just now and has no other owner.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: it is a signalfd.
        Ok(unsafe { SignalFd::from_owned_fd(fd) })
    }
}

/// Sends a signal to a process.
pub(super) fn kill(pid: Pid, number: c_int) -> io::Result<()> {
    // SAFETY: it takes two numbers and touches no memory of ours.
    let done = unsafe { libc::kill(pid.as_raw(), number) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_the_bit_below_its_number() {
        assert_eq!(Set::all_but(&[]), Set(u64::MAX));
        assert_eq!(Set::all_but(&[1, 9, 64]), Set(!(1 | 1 << 8 | 1 << 63)));
    }
}
