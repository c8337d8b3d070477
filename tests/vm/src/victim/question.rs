//! Bytes to a UDP port, and those that come back.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;

/// A socket that asks one server, and tells its answers from those of others.
pub(super) struct Resolver {
    socket: UdpSocket,
    to: SocketAddr,
    connects: bool,
}

impl Resolver {
    /// Connected to it, or naming it each time.
    pub(super) fn open(to: SocketAddr, connects: bool) -> Result<Self, Errno> {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).map_err(|error| errno(&error))?;
        if connects {
            socket.connect(to).map_err(|error| errno(&error))?;
        }
        Ok(Self { socket, to, connects })
    }

    pub(super) fn local(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// `None` if nothing comes in time.
    pub(super) fn ask(
        &self,
        bytes: &[u8],
        within_ms: u64,
    ) -> Result<Result<Option<Vec<u8>>, Errno>> {
        let within = Duration::from_millis(within_ms.max(1));
        self.socket.set_read_timeout(Some(within))?;
        let sent = if self.connects {
            let peer = self.socket.peer_addr().ok();
            // Whoever was thrown off has none any more, and is told so when it sends.
            ensure!(peer.is_none_or(|peer| peer == self.to), "connected to {peer:?}");
            self.socket.send(bytes)
        } else {
            self.socket.send_to(bytes, self.to)
        };
        if let Err(error) = sent {
            return Ok(Err(errno(&error)));
        }
        let mut response = [0; 4096];
        match self.socket.recv_from(&mut response) {
            Ok((length, from)) => {
                ensure!(from == self.to, "{from} has answered, and {} was asked", self.to);
                Ok(Ok(Some(response[..length].to_vec())))
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Ok(Ok(None))
            }
            Err(error) => Ok(Err(errno(&error))),
        }
    }
}

/// Asks once.
pub(super) fn ask(
    to: SocketAddr,
    bytes: &[u8],
    connects: bool,
    within_ms: u64,
) -> Result<Option<Vec<u8>>> {
    let resolver = Resolver::open(to, connects).context("cannot open a socket")?;
    resolver.ask(bytes, within_ms)?.context("cannot ask")
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or_default())
}
