//! Moments and durations. The wire's are signed and may be out of range.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{invalid::Invalid, value::Lifetime};

/// A lifetime from the wire.
///
/// # Errors
/// When it is negative, zero or too long.
pub fn from_duration(wire: prost_types::Duration) -> Result<Lifetime, Invalid> {
    let shown = format!("{} s {} ns", wire.seconds, wire.nanos);
    Duration::try_from(wire)
        .map_err(|_| Invalid::new(format!("{shown} is negative or out of range")))?
        .try_into()
}

/// A lifetime for the wire.
#[must_use]
pub fn to_duration(lifetime: Lifetime) -> prost_types::Duration {
    let duration = lifetime.get();
    // 30 days at most, so both parts fit.
    prost_types::Duration {
        seconds: duration.as_secs() as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}

/// A moment from the wire; what is out of range becomes the epoch.
#[must_use]
pub fn from_timestamp(wire: prost_types::Timestamp) -> SystemTime {
    SystemTime::try_from(wire).unwrap_or(UNIX_EPOCH)
}

/// A moment for the wire.
#[must_use]
pub fn to_timestamp(moment: SystemTime) -> prost_types::Timestamp {
    moment.into()
}
