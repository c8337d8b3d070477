//! Datagrams that an agent sent: the order, and what came of it.

use std::{str::FromStr, time::Duration};

use anyhow::{Context as _, Result};

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) count: usize,
    /// Of payload in each, at least eight.
    pub(crate) bytes: usize,
    /// From one to the next; zero is as fast as it goes.
    pub(crate) apart: Duration,
    /// How long to wait for what is late, after the last was sent.
    pub(crate) patience: Duration,
}

/// One datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// Nanoseconds of the clock of the day.
    pub(crate) sent: i64,
    /// Nanoseconds until it arrived; absent if it did not.
    pub(crate) delay: Option<i64>,
}

impl Packet {
    /// When it arrived.
    pub(crate) fn arrived(&self) -> Option<i64> {
        Some(self.sent + self.delay?)
    }
}

/// All, in the order in which they were sent.
#[derive(Clone, Debug)]
pub(crate) struct Flight(pub(crate) Vec<Packet>);

impl Flight {
    /// Milliseconds of those that arrived.
    pub(crate) fn delays(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().filter_map(|packet| Some(packet.delay? as f64 / 1e6))
    }

    /// For each whether it was lost.
    pub(crate) fn losses(&self) -> impl Iterator<Item = bool> + '_ {
        self.0.iter().map(|packet| packet.delay.is_none())
    }

    /// How many arrived.
    pub(crate) fn arrived(&self) -> usize {
        self.delays().count()
    }
}

/// `sent:delay` for each, without a delay for what was lost.
impl std::fmt::Display for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Packet { sent, delay } in &self.0 {
            match delay {
                Some(delay) => write!(f, "{sent}:{delay} ")?,
                None => write!(f, "{sent}: ")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Flight {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let packet = |word: &str| {
            let (sent, delay) = word.split_once(':').context("a packet without a delay")?;
            let delay = if delay.is_empty() { None } else { Some(delay.parse()?) };
            Ok(Packet { sent: sent.parse()?, delay })
        };
        Ok(Self(text.split_whitespace().map(packet).collect::<Result<_>>()?))
    }
}
