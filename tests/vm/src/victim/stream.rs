//! TCP: an echo server, and connections to one.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, getsockopt, setsockopt,
        socket,
        sockopt::{ReuseAddr, SocketError},
    },
};

use super::{Exchanged, Served};

/// Small enough for the send buffer to take it while nothing is acknowledged.
const CHUNK: usize = 16 << 10;

pub(super) struct Server {
    listener: TcpListener,
    accepted: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    pub(super) fn new(bind: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(bind).with_context(|| format!("cannot listen on {bind}"))?;
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let (incoming, list) = (listener.try_clone()?, Arc::clone(&accepted));
        thread::spawn(move || {
            for stream in incoming.incoming().flatten() {
                if let (Ok(copy), Ok(mut list)) = (stream.try_clone(), list.lock()) {
                    list.push(copy);
                }
                thread::spawn(move || echo(stream));
            }
        });
        Ok(Self { listener, accepted })
    }

    pub(super) fn local(&self) -> Result<SocketAddr> {
        Ok(self.listener.local_addr()?)
    }

    pub(super) fn served(&self) -> Result<Served> {
        let accepted =
            self.accepted.lock().map_err(|_| anyhow::anyhow!("an echo thread panicked"))?;
        let retransmits = accepted.iter().map(retransmits).sum::<Result<u32>>()?;
        let states = accepted.iter().map(|stream| info(stream).map(|info| info.is_established()));
        let open = states.collect::<Result<Vec<_>>>()?.into_iter().filter(|open| *open).count();
        Ok(Served { accepted: accepted.len(), open, retransmits })
    }
}

fn echo(mut stream: TcpStream) {
    let mut bytes = vec![0; CHUNK];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
}

pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes sent that have not come back yet.
    owed: usize,
    received: u64,
}

impl Connection {
    /// The inner error is the kernel's; `ETIMEDOUT` also when it had not decided in time.
    pub(super) fn open(
        local: Option<SocketAddr>,
        to: SocketAddr,
        within_ms: u64,
    ) -> Result<Result<Self, Errno>> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd =
            socket(family, SockType::Stream, flags, None).context("cannot open a TCP socket")?;
        if let Some(local) = local {
            setsockopt(&fd, ReuseAddr, &true)?;
            bind(fd.as_raw_fd(), &SockaddrStorage::from(local))
                .with_context(|| format!("cannot bind to {local}"))?;
        }
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Ok(Err(errno)),
        }
        if !writable(&fd, within_ms)? {
            return Ok(Err(Errno::ETIMEDOUT));
        }
        match getsockopt(&fd, SocketError)? {
            0 => {}
            errno => return Ok(Err(Errno::from_raw(errno))),
        }
        let stream = TcpStream::from(fd);
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Ok(Self { stream, owed: 0, received: 0 }))
    }

    pub(super) fn local(&self) -> Result<SocketAddr> {
        Ok(self.stream.local_addr()?)
    }

    /// How it ended, if it did within a time in which nothing else is to be heard.
    pub(super) fn fate(&self, within_ms: u64) -> Result<Option<Errno>> {
        let timeout =
            PollTimeout::try_from(Duration::from_millis(within_ms)).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout)? == 0 {
            return Ok(None);
        }
        Ok(Some(Errno::from_raw(getsockopt(&self.stream, SocketError)?)))
    }

    pub(super) fn exchange(&mut self, bytes: usize, within_ms: u64) -> Result<Exchanged> {
        let deadline = Instant::now() + Duration::from_millis(within_ms);
        let mut to_send = bytes;
        let mut received = 0;
        let mut intact = true;
        let mut buffer = vec![0; CHUNK];
        let mut failed = None;
        while to_send > 0 || self.owed > 0 {
            if self.owed == 0 {
                let now = to_send.min(CHUNK);
                let chunk: Vec<u8> = (self.received..).take(now).map(pattern).collect();
                match self.stream.write_all(&chunk) {
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                        failed = Some(error);
                        break;
                    }
                    result => result.context("cannot send")?,
                }
                (to_send, self.owed) = (to_send - now, now);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.stream.set_read_timeout(Some(left))?;
            let want = self.owed.min(CHUNK);
            match self.stream.read(&mut buffer[..want]) {
                Ok(0) => break,
                Ok(length) => {
                    let mut expected = (self.received..).map(pattern);
                    intact &= buffer[..length].iter().all(|byte| expected.next() == Some(*byte));
                    self.received += length as u64;
                    self.owed -= length;
                    received += length;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    break;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    failed = Some(error);
                    break;
                }
                Err(error) => return Err(error).context("cannot receive"),
            }
        }
        let complete = intact && to_send == 0 && self.owed == 0;
        let errno = failed.and_then(|error| error.raw_os_error()).unwrap_or_default();
        Ok(Exchanged { complete, received, errno, retransmits: retransmits(&self.stream)? })
    }
}

fn pattern(at: u64) -> u8 {
    (at % 251) as u8
}

fn writable(fd: &OwnedFd, within_ms: u64) -> Result<bool> {
    let timeout =
        PollTimeout::try_from(Duration::from_millis(within_ms)).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    Ok(poll(&mut fds, timeout)? > 0)
}

fn info(stream: &TcpStream) -> Result<crate::harness::TcpInfoOf> {
    getsockopt(stream, crate::harness::TcpInfo).context("cannot read TCP_INFO")
}

fn retransmits(stream: &TcpStream) -> Result<u32> {
    Ok(info(stream)?.total_retransmits())
}
