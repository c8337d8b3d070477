//! The one clock by which faults end: `CLOCK_BOOTTIME`, as the kernel's programs read it.

use std::{
    fs, io,
    time::{Duration, SystemTime},
};

use nix::time::{ClockId, clock_gettime};

/// A moment on the boot clock.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct BootTime(u64);

impl BootTime {
    /// Before everything.
    pub const ZERO: Self = Self(0);
    /// After everything.
    pub const NEVER: Self = Self(u64::MAX);

    /// Now. Falls back to zero on a kernel without the clock, where faults are then over at once.
    #[must_use]
    pub fn now() -> Self {
        clock_gettime(ClockId::CLOCK_BOOTTIME)
            .map(|time| Self(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64))
            .unwrap_or(Self::ZERO)
    }

    /// Nanoseconds since boot.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The moment so many nanoseconds after boot.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A later moment.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long from `now` to here; zero when past.
    #[must_use]
    pub fn since(self, now: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(now.0))
    }

    /// The same moment for people, by today's wall clock.
    #[must_use]
    pub fn to_wall(self) -> SystemTime {
        let now = Self::now();
        if self >= now {
            SystemTime::now() + self.since(now)
        } else {
            SystemTime::now() - now.since(self)
        }
    }
}

/// Names this boot of the machine; a journal of another boot speaks of effects that are gone.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
