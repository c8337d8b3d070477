//! A server, and clients that may reach it through a proxy.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::statistics::median;

/// Serves until the agent ends. Returns the address of what sends back and that of what swallows.
pub(super) fn serve() -> Result<String> {
    let echo = TcpListener::bind("127.0.0.1:0")?;
    let sink = TcpListener::bind("127.0.0.1:0")?;
    let addresses = format!("{} {}", echo.local_addr()?, sink.local_addr()?);
    thread::spawn(move || {
        each(&echo, |mut stream| io::copy(&mut stream.try_clone()?, &mut stream));
    });
    thread::spawn(move || each(&sink, swallow));
    Ok(addresses)
}

/// Bytes that arrived at what swallows.
static SWALLOWED: AtomicUsize = AtomicUsize::new(0);

fn swallow(mut stream: TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(0),
            bytes => SWALLOWED.fetch_add(bytes, Ordering::Relaxed),
        };
    }
}

fn each(
    listener: &TcpListener,
    work: impl Fn(TcpStream) -> io::Result<u64> + Copy + Send + 'static,
) {
    for stream in listener.incoming().flatten() {
        let _ = stream.set_nodelay(true);
        // The client sees what goes wrong.
        thread::spawn(move || drop(work(stream)));
    }
}

/// One byte there and back. Returns the nanoseconds of one trip.
pub(super) fn trips(address: SocketAddr, times: usize) -> Result<f64> {
    let mut stream = TcpStream::connect(address).context("cannot connect")?;
    stream.set_nodelay(true)?;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let begin = Instant::now();
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        taken.push(begin.elapsed().as_nanos() as f64);
    }
    Ok(median(&taken))
}

/// As much as goes through. Returns bytes a second, of what arrived.
pub(super) fn bulk(address: SocketAddr, duration: Duration) -> Result<f64> {
    let mut stream = TcpStream::connect(address).context("cannot connect")?;
    let buffer = vec![0; 64 * 1024];
    let before = SWALLOWED.load(Ordering::Relaxed);
    let begin = Instant::now();
    while begin.elapsed() < duration {
        stream.write_all(&buffer)?;
    }
    let arrived = SWALLOWED.load(Ordering::Relaxed) - before;
    Ok(arrived as f64 / begin.elapsed().as_secs_f64())
}
