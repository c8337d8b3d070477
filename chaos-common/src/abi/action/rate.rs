//! A line that is slower than the wire.

use super::PARAMETERS;

/// Parameters of [`Action::Rate`](super::Action::Rate): a line that sends byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Not 0.
    pub bits_per_second: u64,
    /// How far the line may be ahead of its rate after a pause.
    pub burst_ns: u64,
    /// What would wait longer than this is dropped.
    pub limit_ns: u64,
    /// 1 when each connection has a line of its own.
    pub per_connection: u64,
}

impl Rate {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let Self { bits_per_second, burst_ns, limit_ns, per_connection } = self;
        [bits_per_second, burst_ns, limit_ns, per_connection, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        let [bits_per_second, burst_ns, limit_ns, per_connection, ..] = *words;
        Self { bits_per_second, burst_ns, limit_ns, per_connection }
    }

    /// How long the line is busy with some bytes.
    #[inline(always)]
    #[must_use]
    pub const fn time_of(&self, bytes: u64) -> u64 {
        bytes * 8_000_000_000 / if self.bits_per_second == 0 { 1 } else { self.bits_per_second }
    }
}
