//! What a daemon tells monitoring.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// An address for metrics. Whoever takes the port in between makes the daemon fail, and the test with it.
pub(crate) fn address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?.local_addr()?)
}

/// The answer to a request, with its head.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("nobody serves metrics")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Name and labels, and value of each.
pub(crate) fn metrics(address: SocketAddr) -> Result<Vec<(String, f64)>> {
    let page = get(address, "/metrics")?;
    let (_, body) = page.split_once("\r\n\r\n").context("no body")?;
    let lines = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let metric = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(lines.filter_map(metric).collect())
}
