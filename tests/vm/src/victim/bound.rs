//! A port of one's own, or the kernel's word why not.

use std::{
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt,
        socket,
        sockopt::{Ipv6V6Only, ReuseAddr, ReusePort},
    },
};

use super::{PortOptions, Then};

/// Keeps it.
pub(super) struct Bound {
    _fd: OwnedFd,
}

impl Bound {
    /// The inner error is the kernel's, from whichever call it came.
    pub(super) fn open(
        kind: SockType,
        local: SocketAddr,
        options: PortOptions,
    ) -> Result<Result<Self, Errno>> {
        let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd =
            socket(family, kind, SockFlag::SOCK_CLOEXEC, None).context("cannot open a socket")?;
        if local.is_ipv6() {
            setsockopt(&fd, Ipv6V6Only, &!options.dual)?;
        }
        setsockopt(&fd, ReuseAddr, &options.reuse_address)?;
        setsockopt(&fd, ReusePort, &options.reuse_port)?;
        let bound = bind(fd.as_raw_fd(), &SockaddrStorage::from(local));
        Ok(bound
            .and_then(|()| match options.then {
                Then::Listen => listen(&fd, Backlog::MAXCONN),
                Then::Nothing => Ok(()),
            })
            .map(|()| Self { _fd: fd }))
    }
}
