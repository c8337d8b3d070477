//! A way for datagrams and one for a stream, both ends held by this process: all that a packet costs
//! happens in the sender's call.

use std::{
    hint::spin_loop,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::socket::{setsockopt, sockopt},
    time::{ClockId, clock_gettime},
};

use super::far;
use crate::statistics::median;

/// Datagrams between two looks at the clock.
const BATCH: u32 = 32;
const WRITE: usize = 64 * 1024;
/// Of each kind, before what counts: caches and the congestion window have to find their state again.
const WARM_UP: usize = 8;
/// Holds many writes, so that none ever waits for the reader.
const BUFFER: usize = 4 << 20;
/// A datagram that is not there by then is lost; others are there when `send` returns.
const LATE: Duration = Duration::from_micros(500);

/// Senders in the agent's namespace, receivers at an address.
pub(super) struct Link {
    sender: UdpSocket,
    receiver: UdpSocket,
    writer: TcpStream,
    reader: TcpStream,
}

impl Link {
    /// Makes the sockets; the receiving ones in another namespace unless `netns` is `-`.
    pub(super) fn open(address: IpAddr, netns: &str) -> Result<Self> {
        let listen = || Ok((UdpSocket::bind((address, 0))?, TcpListener::bind((address, 0))?));
        let (receiver, listener) = far::within(netns, listen).context("cannot listen")?;
        setsockopt(&listener, sockopt::RcvBufForce, &BUFFER)?;
        let sender = UdpSocket::bind(("0.0.0.0", 0))?;
        sender.connect(receiver.local_addr()?)?;
        receiver.set_nonblocking(true)?;
        let writer = TcpStream::connect(listener.local_addr()?)?;
        writer.set_nodelay(true)?;
        setsockopt(&writer, sockopt::SndBufForce, &BUFFER)?;
        let (reader, _) = listener.accept()?;
        Ok(Self { sender, receiver, writer, reader })
    }

    /// Sends datagrams of one byte. Returns the nanoseconds of one.
    pub(super) fn send(&mut self, batches: usize) -> Result<f64> {
        let mut times = Vec::with_capacity(batches);
        for round in 0..batches + WARM_UP {
            let begin = Instant::now();
            for _ in 0..BATCH {
                self.sender.send(b"x")?;
            }
            let time = begin.elapsed();
            while self.receive()?.is_some() {}
            if round >= WARM_UP {
                times.push(time.as_nanos() as f64 / f64::from(BATCH));
            }
        }
        Ok(median(&times))
    }

    /// Writes 64 KiB into the stream. Returns the nanoseconds of one write.
    pub(super) fn write(&mut self, times: usize) -> Result<f64> {
        let mut buffer = vec![0; WRITE];
        let mut taken = Vec::with_capacity(times);
        for round in 0..times + WARM_UP {
            let begin = Instant::now();
            self.writer.write_all(&buffer)?;
            let time = begin.elapsed();
            self.reader.read_exact(&mut buffer)?;
            if round >= WARM_UP {
                taken.push(time.as_nanos() as f64);
            }
        }
        Ok(median(&taken))
    }

    /// Sends numbered datagrams until one is lost. Returns when that one was sent, in nanoseconds of the
    /// monotonic clock. Calls `going` when it has begun.
    pub(super) fn race(&mut self, going: impl FnOnce() -> Result<()>) -> Result<i64> {
        let mut going = Some(going);
        let end = Instant::now() + Duration::from_secs(10);
        for number in 0u64.. {
            let sent = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
            self.sender.send(&number.to_ne_bytes())?;
            let late = Instant::now() + LATE;
            loop {
                match self.receive()? {
                    Some(arrived) if arrived == number => break,
                    Some(_) => {}
                    None if Instant::now() < late => spin_loop(),
                    None => return Ok(sent.tv_sec() * 1_000_000_000 + sent.tv_nsec()),
                }
            }
            if number == 100
                && let Some(going) = going.take()
            {
                going()?;
            }
            if Instant::now() > end {
                bail!("no datagram was lost for ten seconds");
            }
        }
        bail!("ran out of numbers")
    }

    /// Takes a datagram that is there; its number, if it has one.
    fn receive(&self) -> Result<Option<u64>> {
        let mut bytes = [0; 8];
        match self.receiver.recv(&mut bytes) {
            Ok(_) => Ok(Some(u64::from_ne_bytes(bytes))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("cannot receive"),
        }
    }
}
