//! The network faults beside what `tc` does: netem, tbf, and trees of filters.

pub(super) mod delay;
pub(super) mod effect;
pub(super) mod line;
pub(super) mod loss;
pub(super) mod neighbour;
pub(super) mod rate;
mod shape;
mod wire;

use std::time::Duration;

use chaos_common::proto::v1;
use prost_types::Duration as Span;

use crate::daemon::everything;

/// As the wire of gRPC has it.
fn span(time: Duration) -> Option<Span> {
    Some(Span { seconds: time.as_secs() as i64, nanos: time.subsec_nanos() as i32 })
}

/// All that the target sends waits for so long.
fn latency(time: Duration) -> v1::NetworkDelay {
    v1::NetworkDelay {
        latency: span(time),
        filter: Some(everything()),
        ..v1::NetworkDelay::default()
    }
}
