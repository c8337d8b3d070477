//! One TCP connection that sends as much as it can.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::far;

/// A connection that brings nothing for so long is dead.
const DEAD: Duration = Duration::from_secs(60);

/// Bytes a second that the receiver's application reads, from `warm_up` after the first on.
pub(super) fn run(
    address: IpAddr,
    netns: &str,
    warm_up: Duration,
    duration: Duration,
) -> Result<f64> {
    let listener = far::within(netns, || Ok(TcpListener::bind((address, 0))?))?;
    let writer = TcpStream::connect(listener.local_addr()?).context("cannot connect")?;
    let (reader, _) = listener.accept()?;
    reader.set_read_timeout(Some(DEAD))?;
    writer.set_write_timeout(Some(DEAD))?;
    let writing = thread::spawn(move || write(writer));
    let rate = read(reader, warm_up, duration);
    let wrote = writing.join().map_err(|_| anyhow!("the writer panicked"))?;
    let rate = rate?;
    wrote?;
    Ok(rate)
}

/// Until the other side has had enough.
fn write(mut writer: TcpStream) -> Result<()> {
    let bytes = vec![0; 64 * 1024];
    loop {
        match writer.write_all(&bytes) {
            Ok(()) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error).context("cannot write"),
        }
    }
}

/// Closes at the end with bytes unread, which resets the connection.
fn read(mut reader: TcpStream, warm_up: Duration, duration: Duration) -> Result<f64> {
    let mut buffer = vec![0; 256 * 1024];
    let mut read = || reader.read(&mut buffer).context("cannot read");
    read()?;
    let first = Instant::now();
    while first.elapsed() < warm_up {
        read()?;
    }
    let (begin, mut bytes) = (Instant::now(), 0);
    while begin.elapsed() < duration {
        bytes += read()?;
    }
    Ok(bytes as f64 / begin.elapsed().as_secs_f64())
}
