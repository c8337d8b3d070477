//! Moments and durations. The wire's are signed and may be out of range.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    invalid::Invalid,
    value::{Lifetime, Wait},
};

/// Nanoseconds in a second.
const NANOS: u32 = 1_000_000_000;

/// A checked duration from the wire.
///
/// # Errors
/// When it is negative, or not what such a duration may be.
pub fn from_duration<D>(wire: prost_types::Duration) -> Result<D, Invalid>
where
    D: TryFrom<Duration, Error = Invalid>,
{
    let prost_types::Duration { seconds, nanos } = wire;
    match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < NANOS => Duration::new(seconds, nanos).try_into(),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => {
            Err(Invalid::new(format!("{seconds} s {nanos} ns is negative or out of range")))
        }
    }
}

/// A lifetime for the wire.
#[must_use]
pub fn to_duration(lifetime: Lifetime) -> prost_types::Duration {
    from_std(lifetime.get())
}

/// How long a packet waits, for the wire.
#[must_use]
pub fn from_wait(wait: Wait) -> prost_types::Duration {
    from_std(wait.get())
}

/// A duration for the wire.
#[must_use]
pub fn from_std(duration: Duration) -> prost_types::Duration {
    // Ours are of 30 days at most, so both parts fit.
    prost_types::Duration {
        seconds: duration.as_secs() as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}

/// A moment from the wire; what is before 1970 or out of range becomes the epoch.
#[must_use]
pub fn from_timestamp(wire: prost_types::Timestamp) -> SystemTime {
    match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < NANOS => {
            UNIX_EPOCH.checked_add(Duration::new(seconds, nanos)).unwrap_or(UNIX_EPOCH)
        }
        (Ok(_) | Err(_), Ok(_) | Err(_)) => UNIX_EPOCH,
    }
}

/// A moment for the wire.
#[must_use]
pub fn to_timestamp(moment: SystemTime) -> prost_types::Timestamp {
    moment.into()
}
