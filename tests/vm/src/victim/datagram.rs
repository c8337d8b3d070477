//! Numbered datagrams: UDP, and echo requests on ping sockets and raw ones.

use std::{
    io::IoSliceMut,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, IpMembershipRequest, MsgFlags, SockFlag,
            SockProtocol, SockType, SockaddrStorage, bind, connect, getsockname, recvmsg, send,
            sendto, setsockopt, socket,
            sockopt::{
                IpAddMembership, Ipv4RecvErr, Ipv4Tos, Ipv6RecvErr, Ipv6TClass, Ipv6V6Only,
                Priority, RcvBuf, RcvBufForce, ReceiveTimestampns, SndBuf, SndBufForce,
                SocketError,
            },
        },
        time::TimeSpec,
    },
    time::{ClockId, clock_gettime},
};

use super::{Arrival, Errors, NOWHERE, Sent, UdpOptions};

/// Room for all datagrams of a test, so that none is lost for want of it.
const BUFFER: usize = 64 << 20;
/// What a datagram is made larger with.
const FILLING: u8 = 0x5a;
/// Bytes of an echo request before its payload.
const ECHO_HEADER: usize = 8;

#[derive(Clone, Copy)]
enum Kind {
    Udp,
    Ping(Echo),
    Raw(Echo),
}

/// Types of an echo request and of its reply.
#[derive(Clone, Copy)]
struct Echo {
    request: u8,
    reply: u8,
}

impl Echo {
    fn of(address: IpAddr) -> (Self, AddressFamily, SockProtocol) {
        match address {
            IpAddr::V4(_) => {
                (Self { request: 8, reply: 0 }, AddressFamily::Inet, SockProtocol::Icmp)
            }
            IpAddr::V6(_) => {
                (Self { request: 128, reply: 129 }, AddressFamily::Inet6, SockProtocol::IcmpV6)
            }
        }
    }
}

pub(super) struct Datagrams {
    fd: OwnedFd,
    kind: Kind,
}

impl Datagrams {
    pub(super) fn udp(local: SocketAddr, options: UdpOptions) -> Result<Self> {
        let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .context("cannot open a UDP socket")?;
        if local.is_ipv6() {
            setsockopt(&fd, Ipv6V6Only, &!options.dual)?;
        }
        if options.receive_errors {
            if local.is_ipv4() {
                setsockopt(&fd, Ipv4RecvErr, &true)?;
            } else {
                setsockopt(&fd, Ipv6RecvErr, &true)?;
            }
        }
        let class = i32::from(options.dscp) << 2;
        if local.is_ipv4() {
            setsockopt(&fd, Ipv4Tos, &class)?;
        } else {
            setsockopt(&fd, Ipv6TClass, &class)?;
        }
        // The class gave it one.
        if let Some(priority) = options.priority {
            setsockopt(&fd, Priority, &priority)?;
        }
        if let Some((group, at)) = options.group {
            setsockopt(&fd, IpAddMembership, &IpMembershipRequest::new(group, Some(at)))
                .with_context(|| format!("cannot join the group {group}"))?;
        }
        let datagrams = Self::bound(fd, Kind::Udp, local)?;
        if let Some(to) = options.connect {
            connect(datagrams.fd.as_raw_fd(), &SockaddrStorage::from(to))
                .context("cannot connect")?;
        }
        Ok(datagrams)
    }

    /// Over a socket that somebody else made.
    pub(super) fn over(fd: OwnedFd) -> Self {
        Self { fd, kind: Kind::Udp }
    }

    pub(super) fn ping(local: IpAddr) -> Result<Self> {
        let (echo, family, protocol) = Echo::of(local);
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)
            .context("cannot open a ping socket")?;
        Self::bound(fd, Kind::Ping(echo), SocketAddr::new(local, 0))
    }

    pub(super) fn raw_ping(local: IpAddr) -> Result<Self> {
        let (echo, family, protocol) = Echo::of(local);
        let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .context("cannot open a raw socket")?;
        Self::bound(fd, Kind::Raw(echo), SocketAddr::new(local, 0))
    }

    fn bound(fd: OwnedFd, kind: Kind, local: SocketAddr) -> Result<Self> {
        // Those who may not go beyond the limit get what it leaves: room for a round.
        setsockopt(&fd, RcvBufForce, &BUFFER)
            .or_else(|_| setsockopt(&fd, RcvBuf, &BUFFER))
            .context("cannot enlarge the receive buffer")?;
        setsockopt(&fd, SndBufForce, &BUFFER)
            .or_else(|_| setsockopt(&fd, SndBuf, &BUFFER))
            .context("cannot enlarge the send buffer")?;
        setsockopt(&fd, ReceiveTimestampns, &true).context("cannot ask for times of arrival")?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(local))
            .with_context(|| format!("cannot bind to {local}"))?;
        Ok(Self { fd, kind })
    }

    /// The same socket for another thread.
    pub(super) fn copy(&self) -> Result<Self> {
        Ok(Self { fd: self.fd.try_clone().context("cannot copy a socket")?, kind: self.kind })
    }

    pub(super) fn local(&self) -> Result<SocketAddr> {
        let address: SockaddrStorage = getsockname(self.fd.as_raw_fd())?;
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
        let v6 = address.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6)));
        Ok(v4.or(v6).unwrap_or(NOWHERE))
    }

    pub(super) fn send(&self, to: Option<SocketAddr>, first: u64, count: u32, size: usize) -> Sent {
        let mut sent = Sent::default();
        for number in (first..).take(count as usize) {
            let datagram = self.datagram(number, size);
            let result = match to {
                Some(to) => {
                    let to = SockaddrStorage::from(to);
                    sendto(self.fd.as_raw_fd(), &datagram, &to, MsgFlags::empty())
                }
                None => send(self.fd.as_raw_fd(), &datagram, MsgFlags::empty()),
            };
            match result {
                Ok(_) => sent.ok += 1,
                Err(errno) => sent.failed.push(errno as i32),
            }
        }
        sent
    }

    fn datagram(&self, number: u64, size: usize) -> Vec<u8> {
        let header = |echo: Echo, id: u16| {
            let ([a, b], [c, d]) = (id.to_be_bytes(), (number as u16).to_be_bytes());
            vec![echo.request, 0, 0, 0, a, b, c, d]
        };
        let mut bytes = match self.kind {
            Kind::Udp => Vec::with_capacity(size),
            // The kernel fills in checksum and identifier.
            Kind::Ping(echo) => header(echo, 0),
            Kind::Raw(echo) => header(echo, own_id()),
        };
        let now = now_ns();
        for word in [number, now, check(number, now)] {
            bytes.extend(word.to_le_bytes());
        }
        // Filled by what says nothing, so that any change is seen.
        let room = bytes.len().max(size);
        bytes.resize(room, FILLING);
        // That of ICMPv6 is the kernel's business.
        if let Kind::Raw(Echo { request: 8, .. }) = self.kind {
            let sum = checksum(&bytes).to_be_bytes();
            bytes[2..4].copy_from_slice(&sum);
        }
        bytes
    }

    /// What follows the headers; `None` for what is not for this socket, since a raw one sees everything.
    fn payload<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        match self.kind {
            Kind::Udp => Some(packet),
            Kind::Ping(_) => packet.get(ECHO_HEADER..),
            Kind::Raw(echo) => {
                // Raw sockets of IPv4 are given the header, those of IPv6 are not.
                let header =
                    if echo.reply == 0 { 4 * usize::from(packet.first()? & 0x0f) } else { 0 };
                let message = packet.get(header..)?;
                let is_ours = *message.first()? == echo.reply
                    && *message.get(4..6)? == own_id().to_be_bytes();
                if is_ours { message.get(ECHO_HEADER..) } else { None }
            }
        }
    }

    pub(super) fn take(&self, at_least: usize, within_ms: u64) -> Result<Vec<Arrival>> {
        let deadline = Instant::now() + Duration::from_millis(within_ms);
        let mut arrivals = Vec::new();
        let mut bytes = vec![0; 1 << 16];
        loop {
            match self.receive(&mut bytes) {
                Ok((length, came_ns)) => {
                    if let Some(payload) = self.payload(&bytes[..length]) {
                        arrivals.push(arrival(payload, came_ns)?);
                    }
                }
                Err(Errno::EAGAIN) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if arrivals.len() >= at_least || left.is_zero() {
                        return Ok(arrivals);
                    }
                    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                    poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout)?;
                }
                // Somebody refused an earlier datagram; the tests ask for that by `Errors`.
                Err(Errno::ECONNREFUSED) => {}
                Err(errno) => return Err(errno).context("cannot receive"),
            }
        }
    }

    /// One datagram, and when the kernel had it.
    fn receive(&self, bytes: &mut [u8]) -> nix::Result<(usize, u64)> {
        let mut control = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message =
            recvmsg::<SockaddrStorage>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let times = message.cmsgs()?.filter_map(|control| {
            if let ControlMessageOwned::ScmTimestampns(time) = control {
                Some(nanos(time))
            } else {
                None
            }
        });
        Ok((message.bytes, times.last().unwrap_or(0)))
    }

    pub(super) fn errors(&self) -> Result<Errors> {
        let pending = nix::sys::socket::getsockopt(&self.fd, SocketError)?;
        let mut queued = 0;
        let mut bytes = [0; 2048];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let mut control = nix::cmsg_space!([u8; 512]);
        while recvmsg::<SockaddrStorage>(
            self.fd.as_raw_fd(),
            &mut [IoSliceMut::new(&mut bytes)],
            Some(&mut control),
            flags,
        )
        .is_ok()
        {
            queued += 1;
        }
        Ok(Errors { queued, pending })
    }
}

/// What the payload says, which our own `datagram` wrote.
fn arrival(payload: &[u8], came_ns: u64) -> Result<Arrival> {
    let word = |at: usize| {
        let bytes = payload.get(at..at + 8).context("a foreign datagram came in")?;
        Ok::<_, anyhow::Error>(u64::from_le_bytes(bytes.try_into()?))
    };
    let (number, sent_ns) = (word(0)?, word(8)?);
    let is_whole =
        word(16)? == check(number, sent_ns) && payload[24..].iter().all(|byte| *byte == FILLING);
    // That of one that was corrupted may be any.
    let late_us = (came_ns as i64).wrapping_sub(sent_ns as i64) / 1000;
    Ok(Arrival { number, late_us, is_whole })
}

/// What tells that number and time are as they were sent.
fn check(number: u64, sent_ns: u64) -> u64 {
    !number.rotate_left(17) ^ sent_ns
}

/// Now, on the clock of the kernel's time stamps.
fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, nanos)
}

fn nanos(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// What tells our echo requests from those of others.
fn own_id() -> u16 {
    std::process::id() as u16
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let word =
        |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default());
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
