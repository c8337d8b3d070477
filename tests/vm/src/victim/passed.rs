//! Sockets that were made by another process.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, bail};
use nix::{errno::Errno, libc};

/// A copy of the UDP socket of a process that has this address.
pub(super) fn udp(pid: u32, local: SocketAddr) -> Result<OwnedFd> {
    let process = open(libc::SYS_pidfd_open, pid.into(), 0)?;
    let folder = format!("/proc/{pid}/fd");
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {folder}"))? {
        let entry = entry?;
        if !fs::read_link(entry.path())?.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let number: RawFd = entry.file_name().to_string_lossy().parse()?;
        let taken = open(libc::SYS_pidfd_getfd, process.as_raw_fd().into(), number)?;
        let taken = UdpSocket::from(taken);
        if taken.local_addr().is_ok_and(|address| address == local) {
            return Ok(taken.into());
        }
    }
    bail!("the process {pid} has no socket at {local}")
}

fn open(call: libc::c_long, of: libc::c_long, number: RawFd) -> Result<OwnedFd> {
    // SAFETY: both calls take numbers only.
    let fd = unsafe { libc::syscall(call, of, number, 0) };
    let fd = Errno::result(fd).context("cannot take a descriptor of another process")?;
    // SAFETY: the kernel has just made it; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
