//! The clock that all processes of the demo share.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment: time since the machine's start, without sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) Duration);

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        // Fails for unknown clocks only.
        clock_gettime(ClockId::CLOCK_MONOTONIC)
            .map_or_else(|_| Self::default(), |time| Self(time.into()))
    }

    /// Time from an earlier moment to this one; zero if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// A later moment.
    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}
