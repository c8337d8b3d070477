//! An HTTP/1.1 server on a port of the loopback, one thread for each connection.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;

use super::take_place;

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(30);
const STACK: usize = 128 << 10;

/// Where to run.
#[derive(Args)]
pub(crate) struct Options {
    /// The directory of the cgroup to move to.
    #[arg(long)]
    cgroup: PathBuf,
}

/// Serves for ever; says on standard output on which port.
pub(crate) fn run(options: &Options) -> Result<()> {
    take_place(&options.cgroup)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen")?;
    println!("{}", listener.local_addr()?.port());
    for stream in listener.incoming().flatten() {
        // Without a thread the connection is closed, and the client sees that.
        let _ = thread::Builder::new().stack_size(STACK).spawn(move || answer(stream));
    }
    Ok(())
}

/// Answers requests until the client has enough.
fn answer(stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1024, &stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // A GET has no body: its end is the empty line.
        if line == b"\r\n" {
            (&stream).write_all(RESPONSE)?;
        }
    }
}
