//! An HTTP/1.1 client that sends requests at a fixed rate, however slowly they are answered. (One that waits for
//! each answer would send less under the fault, and so hide it.) Connections are kept alive for a few requests.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;

use super::take_place;
use crate::{clock::Moment, stats::TIMEOUT};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n";
const STACK: usize = 128 << 10;

/// What to send.
#[derive(Args)]
pub(crate) struct Options {
    /// The directory of the cgroup to move to.
    #[arg(long)]
    cgroup: PathBuf,
    /// The server's port.
    #[arg(long)]
    port: u16,
    /// Requests a second.
    #[arg(long)]
    rate: u32,
    /// Requests on one connection.
    #[arg(long)]
    per_connection: u32,
}

/// Sends for ever; one line on standard output for each request.
pub(crate) fn run(options: &Options) -> Result<()> {
    take_place(&options.cgroup)?;
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let begin = Instant::now();
    let next = AtomicU32::new(0);
    // So many that one is always free, if all requests take as long as they may.
    let workers = options.rate * TIMEOUT.as_secs() as u32 + options.rate / 4 + 2;
    thread::scope(|scope| -> io::Result<()> {
        for _ in 0..workers {
            let work = || work(server, options, begin, &next);
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Sends every request that falls to this worker. Ends when nobody reads the lines.
fn work(server: SocketAddr, options: &Options, begin: Instant, next: &AtomicU32) -> io::Result<()> {
    let mut kept = None;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = begin + Duration::from_secs(1) * number / options.rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (began, clock) = (Moment::now(), Instant::now());
        let fresh = || TcpStream::connect_timeout(&server, TIMEOUT).map(|stream| (stream, 0));
        let answered = kept.take().map_or_else(fresh, Ok).and_then(|(mut stream, used)| {
            ask(&mut stream, clock + TIMEOUT)?;
            Ok((stream, used + 1))
        });
        report(began, clock.elapsed(), answered.is_ok())?;
        kept = answered.ok().filter(|(_, used)| *used < options.per_connection);
    }
}

fn report(began: Moment, took: Duration, answered: bool) -> io::Result<()> {
    writeln!(io::stdout(), "{} {} {answered}", began.0.as_nanos(), took.as_nanos())
}

/// One request and its answer, which must be there at the deadline.
fn ask(stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST)?;
    let mut answer = Vec::with_capacity(256);
    let mut buffer = [0; 256];
    while !is_whole(&answer)? {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(())
}

/// Whether all of a response has come. Anything but `200` is an error.
fn is_whole(answer: &[u8]) -> io::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let bad = || io::Error::from(io::ErrorKind::InvalidData);
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| bad())?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(bad());
    }
    let length =
        head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
    Ok(answer.len() >= end + 4 + length.ok_or_else(bad)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
        assert!(is_whole(answer).unwrap());
        assert!(!is_whole(&answer[..answer.len() - 1]).unwrap());
        assert!(!is_whole(b"HTTP/1.1 2").unwrap());
        assert!(is_whole(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n").is_err());
    }
}
