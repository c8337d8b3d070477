//! Questions to a name server: to one that nobody hears, and to one that answers.

use std::{
    net::{IpAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::far;
use crate::statistics::median;

const PORT: u16 = 53;
/// Questions between two looks at the clock.
const BATCH: u32 = 32;
/// Before what counts.
const WARM_UP: usize = 8;
/// An answer that is not there by then is lost.
const LATE: Duration = Duration::from_secs(2);
/// For an address, with recursion.
const HEAD: [u8; 12] = [0x5a, 0xa5, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
const KIND: [u8; 4] = [0, 1, 0, 1];
/// The name does not exist.
const NXDOMAIN: u8 = 3;

/// Asks about one name.
pub(super) struct Asker {
    sender: UdpSocket,
    /// Where questions go that nobody answers.
    sink: Option<UdpSocket>,
    question: Vec<u8>,
}

impl Asker {
    /// Of somebody at an address who only listens, in another namespace unless `netns` is `-`.
    pub(super) fn of_nobody(address: IpAddr, netns: &str, name: &str) -> Result<Self> {
        let sink = far::within(netns, || Ok(UdpSocket::bind((address, PORT))?));
        let sink = sink.context("cannot listen")?;
        sink.set_nonblocking(true)?;
        Ok(Self { sink: Some(sink), ..Self::of_server(address, name)? })
    }

    /// Of a name server.
    pub(super) fn of_server(address: IpAddr, name: &str) -> Result<Self> {
        let sender = UdpSocket::bind(("0.0.0.0", 0))?;
        sender.set_read_timeout(Some(LATE))?;
        sender.connect((address, PORT))?;
        let mut question = HEAD.to_vec();
        for label in name.split('.') {
            question.push(u8::try_from(label.len())?);
            question.extend(label.as_bytes());
        }
        question.push(0);
        question.extend(KIND);
        Ok(Self { sender, sink: None, question })
    }

    /// Asks and does not wait. Returns the nanoseconds of one send.
    pub(super) fn ask(&self, batches: usize) -> Result<f64> {
        let sink = self.sink.as_ref().context("somebody would answer")?;
        let mut times = Vec::with_capacity(batches);
        for round in 0..batches + WARM_UP {
            let begin = Instant::now();
            for _ in 0..BATCH {
                self.sender.send(&self.question)?;
            }
            let time = begin.elapsed();
            let mut came = 0;
            while sink.recv(&mut [0; 512]).is_ok() {
                came += 1;
            }
            ensure!(came == BATCH, "of {BATCH} questions {came} have come");
            if round >= WARM_UP {
                times.push(time.as_nanos() as f64 / f64::from(BATCH));
            }
        }
        Ok(median(&times))
    }

    /// Asks and waits for the answer that there is no such name. Returns the nanoseconds of one question.
    pub(super) fn hear(&self, times: usize) -> Result<f64> {
        let mut taken = Vec::with_capacity(times);
        let mut answer = [0; 512];
        for round in 0..times + WARM_UP {
            let begin = Instant::now();
            self.sender.send(&self.question)?;
            let length = self.sender.recv(&mut answer).context("no answer")?;
            let time = begin.elapsed();
            let is_right = length >= self.question.len()
                && answer[..2] == HEAD[..2]
                && answer[3] & 0xf == NXDOMAIN;
            ensure!(is_right, "another answer: {:02x?}", &answer[..length]);
            if round >= WARM_UP {
                taken.push(time.as_nanos() as f64);
            }
        }
        Ok(median(&taken))
    }
}

/// Says of every name that it does not exist, until the agent ends: the least that a name server does.
pub(super) fn serve(address: IpAddr) -> Result<()> {
    const RESPONSE: u8 = 0x80;
    let socket = UdpSocket::bind((address, PORT)).context("cannot serve names")?;
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            packet[2] |= RESPONSE;
            packet[3] = RESPONSE | NXDOMAIN;
            // Whoever hears nothing fails.
            let _ = socket.send_to(&packet[..length], from);
        }
    });
    Ok(())
}
