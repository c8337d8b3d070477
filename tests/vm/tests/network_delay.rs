//! `network delay`: packets of a cgroup arrive later, and nobody else's do.

#[path = "network_delay/ending.rs"]
mod ending;
#[path = "network_delay/jitter.rs"]
mod jitter;
#[path = "network_delay/loopback.rs"]
mod loopback;
#[path = "network_delay/matrix.rs"]
mod matrix;
#[path = "network_delay/packets.rs"]
mod packets;
#[path = "network_delay/places.rs"]
mod places;
#[path = "network_delay/qdiscs.rs"]
mod qdiscs;
#[path = "network_delay/tap.rs"]
mod tap;

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::harness::{Probe, under_tap};

pub(crate) fn trials() -> Vec<Trial> {
    let all = || {
        let parts = [
            matrix::trials(),
            jitter::trials(),
            packets::trials(),
            places::trials(),
            loopback::trials(),
            qdiscs::trials(),
            ending::trials(),
        ];
        parts.into_iter().flatten().collect()
    };
    [all(), under_tap(all), under_tap(tap::trials)].into_iter().flatten().collect()
}

/// Long enough to be told from a slow machine.
pub(crate) const LATENCY: Duration = Duration::from_millis(400);

/// Fails unless everything arrives, in order, and all of it by at least the latency later.
pub(crate) fn all_late(flow: &dyn Probe) -> Result<()> {
    late(flow, |late| late >= LATENCY.as_micros() as i64)
}

/// Fails unless everything arrives, in order, and all of it sooner than the latency.
pub(crate) fn all_soon(flow: &dyn Probe) -> Result<()> {
    late(flow, |late| late < LATENCY.as_micros() as i64)
}

fn late(flow: &dyn Probe, is_right: impl Fn(i64) -> bool) -> Result<()> {
    let count = flow.usual();
    let round = flow.round(count, count)?;
    let all: Vec<u64> = (0..u64::from(count)).collect();
    ensure!(
        round.failed.is_empty() && round.arrived == all,
        "{}: not all arrived, or not in order: {round:?}",
        flow.name()
    );
    ensure!(
        round.late_us.iter().all(|late| is_right(*late)),
        "{}: came at the wrong time: {round:?}",
        flow.name()
    );
    Ok(())
}
