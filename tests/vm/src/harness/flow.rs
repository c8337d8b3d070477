//! Traffic whose losses can be counted, packet by packet.

use std::{cell::Cell, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{Agent, Socket, Stage};
use crate::victim::Sent;

/// How long what should arrive may take.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long a connection is tried that should not come about. The first SYN is repeated after a second.
const NO_CONNECTION: Duration = Duration::from_millis(1300);
/// Datagrams that are under way at once: fewer than the kernel's backlog of 1,000.
const AT_ONCE: u32 = 200;

/// What became of a number of packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// How many were sent.
    pub(crate) sent: u32,
    /// `errno` of send calls that failed.
    pub(crate) failed: Vec<i32>,
    /// Which arrived, counted from 0, in the order of their arrival.
    pub(crate) arrived: Vec<u64>,
    /// For each of those, how many microseconds after it was sent; of echo requests, their replies.
    pub(crate) late_us: Vec<i64>,
    /// How many of those that arrived are not as they were sent.
    pub(crate) spoilt: u32,
}

impl Round {
    /// For each packet, whether it was lost.
    pub(crate) fn lost(&self) -> Vec<bool> {
        (0..u64::from(self.sent)).map(|number| !self.arrived.contains(&number)).collect()
    }
}

/// Something that sends.
pub(crate) trait Probe {
    /// For messages.
    fn name(&self) -> &str;

    /// Sends packets and waits for as many to arrive as should.
    fn round(&self, count: u32, should_arrive: u32) -> Result<Round>;

    /// Packets that make a fair trial.
    fn usual(&self) -> u32;

    /// Fails when anything is lost.
    fn all_arrive(&self) -> Result<()> {
        let count = self.usual();
        let round = self.round(count, count)?;
        let all: Vec<u64> = (0..u64::from(count)).collect();
        ensure!(
            round.failed.is_empty() && round.arrived == all,
            "{}: not all arrived: {round:?}",
            self.name()
        );
        Ok(())
    }

    /// Fails when anything arrives, or when a sender is told.
    fn none_arrive(&self) -> Result<()> {
        let round = self.round(self.usual(), 0)?;
        ensure!(round.failed.is_empty(), "{}: the sender was told: {round:?}", self.name());
        ensure!(round.arrived.is_empty(), "{}: some arrived: {round:?}", self.name());
        Ok(())
    }
}

/// UDP datagrams, or echo requests and their replies.
pub(crate) struct Datagrams<'a> {
    stage: &'a Stage,
    name: String,
    from: (&'a Agent, Socket),
    /// Where the numbers come out; for echo requests the sender itself.
    to: (&'a Agent, Socket),
    address: Option<SocketAddr>,
    size: usize,
    next: Cell<u64>,
}

impl<'a> Datagrams<'a> {
    /// From one socket to another.
    pub(crate) fn new(
        stage: &'a Stage,
        name: impl Into<String>,
        from: (&'a Agent, Socket),
        to: (&'a Agent, Socket),
        address: SocketAddr,
    ) -> Self {
        let (name, address) = (name.into(), Some(address));
        Self { stage, name, from, to, address, size: 0, next: Cell::new(0) }
    }

    /// The same with datagrams of a size.
    pub(crate) fn sized(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// The same over a connected socket.
    pub(crate) fn connected(mut self) -> Self {
        self.address = None;
        self
    }

    /// The sending socket.
    pub(crate) fn sender(&self) -> Socket {
        self.from.1
    }

    /// The receiving socket.
    pub(crate) fn receiver(&self) -> Socket {
        self.to.1
    }

    /// Fails when anything is lost, without waiting for what is late. For polling.
    pub(crate) fn all_arrive_now(&self) -> Result<()> {
        let round = self.round(self.usual(), 0)?;
        ensure!(
            round.arrived.len() == self.usual() as usize,
            "{}: not all arrived: {round:?}",
            self.name
        );
        Ok(())
    }

    /// Sends datagram after datagram until [`Datagrams::cease`].
    pub(crate) fn begin(&self) -> Result<()> {
        self.from.0.begin(self.from.1, self.address, self.next.get())
    }

    /// Ends what [`Datagrams::begin`] began, and says what became of it.
    pub(crate) fn cease(&self) -> Result<Round> {
        let sent = self.from.0.cease(self.from.1)?;
        self.stage.settle()?;
        self.account(sent, 0)
    }

    /// The same, and waits for what was sent.
    pub(crate) fn cease_and_wait(&self) -> Result<Round> {
        let sent = self.from.0.cease(self.from.1)?;
        let should_arrive = sent.ok;
        self.account(sent, should_arrive)
    }

    fn account(&self, sent: Sent, should_arrive: u32) -> Result<Round> {
        let first = self.next.get();
        let count = sent.ok + sent.failed.len() as u32;
        self.next.set(first + u64::from(count));
        let arrived = self.to.0.take_within(self.to.1, should_arrive as usize, ARRIVAL)?;
        let arrived = arrived.into_iter().filter_map(|number| number.checked_sub(first)).collect();
        Ok(Round { sent: count, failed: sent.failed, arrived, ..Round::default() })
    }

    /// Port of the receiving socket.
    pub(crate) fn receiver_port(&self) -> u16 {
        self.to.1.local.port()
    }

    /// What the sender has been told so far.
    pub(crate) fn errors(&self) -> Result<crate::victim::Errors> {
        self.from.0.errors(self.from.1)
    }
}

impl Probe for Datagrams<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn usual(&self) -> u32 {
        20
    }

    fn round(&self, count: u32, should_arrive: u32) -> Result<Round> {
        let first = self.next.get();
        let mut round = Round::default();
        while round.sent < count {
            let now = AT_ONCE.min(count - round.sent);
            let number = first + u64::from(round.sent);
            let sent = self.from.0.send_sized(self.from.1, self.address, number, now, self.size)?;
            round.failed.extend(sent.failed);
            round.sent += now;
            self.stage.settle()?;
        }
        self.next.set(first + u64::from(count));
        let mut arrivals = self.to.0.arrivals(self.to.1, should_arrive as usize, ARRIVAL)?;
        // What should not arrive has had the time of a whole round trip.
        self.stage.settle()?;
        arrivals.extend(self.to.0.arrivals(self.to.1, 0, Duration::ZERO)?);
        for arrival in arrivals {
            if !arrival.is_whole {
                round.spoilt += 1;
                continue;
            }
            // What an earlier round left over is none of this one's.
            if let Some(number) = arrival.number.checked_sub(first) {
                round.arrived.push(number);
                round.late_us.push(arrival.late_us);
            }
        }
        Ok(round)
    }
}

/// New TCP connections with a few bytes each way.
pub(crate) struct Connections<'a> {
    name: String,
    client: &'a Agent,
    server: SocketAddr,
}

impl<'a> Connections<'a> {
    /// From a process to an echo server.
    pub(crate) fn new(name: impl Into<String>, client: &'a Agent, server: SocketAddr) -> Self {
        Self { name: name.into(), client, server }
    }
}

impl Probe for Connections<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn usual(&self) -> u32 {
        1
    }

    fn round(&self, count: u32, should_arrive: u32) -> Result<Round> {
        let patience = if should_arrive > 0 { ARRIVAL } else { NO_CONNECTION };
        let mut round = Round { sent: count, ..Round::default() };
        for number in 0..count {
            let connection =
                self.client.connect(self.server, patience).with_context(|| self.name.clone())?;
            let Some(socket) = connection else { continue };
            if self.client.exchange(socket, 1000, patience)?.complete {
                round.arrived.push(number.into());
            }
            self.client.close(socket)?;
        }
        Ok(round)
    }
}
