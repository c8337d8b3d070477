//! Numbered datagrams over a wire of their own, with the kernel's word on when each arrived.

use std::{
    io::{ErrorKind, IoSliceMut},
    net::{IpAddr, UdpSocket},
    os::fd::AsRawFd as _,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    sys::{
        prctl::set_timerslack,
        socket::{
            ControlMessageOwned, MsgFlags, recvmsg, setsockopt,
            sockopt::{RcvBufForce, ReceiveTimestampns, SndBufForce},
        },
        time::TimeSpec,
    },
    time::{ClockId, clock_gettime},
};

use super::far;
use crate::{
    flight::{Flight, Packet, Plan},
    statistics::quantile,
};

/// Room for everything that is sent before anybody looks.
const BUFFER: usize = 256 << 20;
/// Between two looks at what has arrived, while packets are sent one after the other.
const BATCH: usize = 64;
/// So long a round trip takes only if something was lost.
const LOST: Duration = Duration::from_secs(5);

/// Sender here, receiver at an address.
pub(super) struct Flow {
    sender: UdpSocket,
    receiver: UdpSocket,
}

impl Flow {
    /// Makes the sockets; the receiving one in another namespace unless `netns` is `-`.
    pub(super) fn open(address: IpAddr, netns: &str) -> Result<Self> {
        // Else the kernel may add 50 µs to every sleep.
        set_timerslack(1).context("cannot have exact timers")?;
        let receiver = far::within(netns, || Ok(UdpSocket::bind((address, 0))?))?;
        let sender = UdpSocket::bind(("0.0.0.0", 0))?;
        sender.connect(receiver.local_addr()?)?;
        for socket in [&sender, &receiver] {
            setsockopt(socket, RcvBufForce, &BUFFER)?;
            setsockopt(socket, SndBufForce, &BUFFER)?;
        }
        setsockopt(&receiver, ReceiveTimestampns, &true)?;
        Ok(Self { sender, receiver })
    }

    /// Sends what is planned. What has not arrived by then is lost.
    pub(super) fn send(&self, plan: &Plan) -> Result<Flight> {
        self.receiver.set_nonblocking(true)?;
        while self.receive()?.is_some() {}
        let mut bytes = vec![0; plan.bytes];
        let mut packets = Vec::with_capacity(plan.count);
        let mut missing = plan.count;
        let begin = Instant::now();
        for number in 0..plan.count {
            let due = begin + plan.apart * number as u32;
            sleep(due.saturating_duration_since(Instant::now()));
            bytes[..8].copy_from_slice(&(number as u64).to_ne_bytes());
            packets.push(Packet { sent: now()?, delay: None });
            self.sender.send(&bytes)?;
            if number % BATCH == BATCH - 1 {
                missing -= self.take(&mut packets)?;
            }
        }
        let end = Instant::now() + plan.patience;
        loop {
            missing -= self.take(&mut packets)?;
            if missing == 0 || Instant::now() > end {
                return Ok(Flight(packets));
            }
            sleep(plan.patience / 100);
        }
    }

    /// Datagrams there and back, one at a time. Returns the nanoseconds that half of them do not exceed, and those
    /// that 99 of 100 do not.
    pub(super) fn trips(&self, count: usize) -> Result<(f64, f64)> {
        self.receiver.set_nonblocking(false)?;
        let back = self.sender.local_addr()?;
        for socket in [&self.sender, &self.receiver] {
            socket.set_read_timeout(Some(LOST))?;
        }
        let mut taken = Vec::with_capacity(count);
        let mut bytes = [0; 8];
        for _ in 0..count {
            let begin = Instant::now();
            self.sender.send(&bytes)?;
            self.receiver.recv(&mut bytes).context("lost on the way there")?;
            self.receiver.send_to(&bytes, back)?;
            self.sender.recv(&mut bytes).context("lost on the way back")?;
            taken.push(begin.elapsed().as_nanos() as f64);
        }
        Ok((quantile(&taken, 0.5), quantile(&taken, 0.99)))
    }

    /// Notes all that are there; returns how many.
    fn take(&self, packets: &mut [Packet]) -> Result<usize> {
        let mut count = 0;
        while let Some((number, arrived)) = self.receive()? {
            if let Some(packet) = packets.get_mut(number as usize) {
                packet.delay = Some(arrived - packet.sent);
                count += 1;
            }
        }
        Ok(count)
    }

    /// Number and time of arrival of one that is there.
    fn receive(&self) -> Result<Option<(u64, i64)>> {
        let mut number = [0; 8];
        let mut space = nix::cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(&mut number)];
        let fd = self.receiver.as_raw_fd();
        let arrived = match recvmsg::<()>(fd, &mut parts, Some(&mut space), MsgFlags::empty()) {
            Ok(message) => {
                let mut notes = message.cmsgs()?;
                notes.find_map(|note| {
                    let ControlMessageOwned::ScmTimestampns(time) = note else { return None };
                    Some(nanoseconds(time))
                })
            }
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => {
                return Ok(None);
            }
            Err(error) => return Err(error).context("cannot receive"),
        };
        let arrived = arrived.ok_or(Errno::ENODATA).context("a datagram without a time")?;
        Ok(Some((u64::from_ne_bytes(number), arrived)))
    }
}

/// By the clock of the kernel's time stamps.
fn now() -> Result<i64> {
    Ok(nanoseconds(clock_gettime(ClockId::CLOCK_REALTIME)?))
}

fn nanoseconds(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}
