//! Bytes to a UDP port, and those that come back.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// `None` if nothing comes in time.
pub(super) fn ask(
    to: SocketAddr,
    bytes: &[u8],
    connects: bool,
    within_ms: u64,
) -> Result<Option<Vec<u8>>> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(within_ms)))?;
    if connects {
        socket.connect(to)?;
        socket.send(bytes).context("cannot ask")?;
    } else {
        socket.send_to(bytes, to).context("cannot ask")?;
    }
    let mut response = [0; 2048];
    match socket.recv_from(&mut response) {
        Ok((length, from)) => {
            ensure!(from == to, "{from} has answered, and {to} was asked");
            Ok(Some(response[..length].to_vec()))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error).context("cannot receive"),
    }
}
