//! How late packets are that are to be late: one way, by one clock, beside netem.

use std::time::Duration;

use anyhow::Result;
use chaos_common::proto::v1::{self, fault::Fault};

use super::{
    latency,
    shape::Shape,
    span,
    wire::{FLOW, Wire, root_qdisc},
};
use crate::{
    compare::{Condition, nothing, pool},
    daemon::{Daemon, spec},
    flight::Plan,
    row::{Goal, Row},
    setting::Subjects,
    statistics::{critical_distance, distance, quantile},
};

/// Turns that each condition takes.
const ROUNDS: u32 = 4;
/// Packets of one turn, where all are to be equally late, and where they are not.
const STEADY: usize = 250;
const STRAYING: usize = 1250;
/// From packet to packet.
const APART: Duration = Duration::from_millis(2);
/// Milliseconds.
const LATENCIES: [u64; 3] = [1, 20, 100];
const LATENCY: u64 = 20;
const JITTER: u64 = 5;
const SHARES: [f64; 3] = [0.5, 0.9, 0.99];

pub(in crate::suite) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut wire = Wire::new()?;
    let mut rows = Vec::new();
    for latency in LATENCIES {
        rows.extend(steady(&daemon, &mut wire, latency)?);
    }
    for shape in Shape::ALL {
        rows.extend(straying(&daemon, &mut wire, shape)?);
    }
    Ok(rows)
}

/// A row for each share of the packets: how far they are from the latency.
fn steady(daemon: &Daemon, wire: &mut Wire, millis: u64) -> Result<Vec<Row>> {
    let Wire { worker, cgroup, near, .. } = wire;
    let fault = || Fault::NetworkDelay(latency(Duration::from_millis(millis)));
    let mut conditions: [Condition<'_>; 3] = [
        nothing(),
        Box::new(|| daemon.during(spec(cgroup, fault()))),
        Box::new(|| root_qdisc(near, &format!("netem delay {millis}ms limit 100000"))),
    ];
    let plan = plan(STEADY, millis);
    let [bare, ours, netem] =
        pool(ROUNDS, &mut conditions, || Ok(worker.fly(FLOW, &plan)?.delays().collect()))?;
    let error = |delays: &[f64], share| (quantile(delays, share) - millis as f64) * 1e3;
    let row = |share| {
        let (ours, netem) = (error(&ours, share), error(&netem, share));
        let wire = quantile(&bare, share) * 1e3;
        let name = format!("network delay {millis} ms: late by, p{:.0}", share * 100.0);
        Row::new(name, ours, "µs")
            .against(format!("netem: {netem:.1} µs; the wire itself: {wire:.1} µs"))
            .goal(Goal::AtMost(netem))
    };
    Ok(SHARES.map(row).into())
}

/// A row for each share of the packets, and one for the distribution.
fn straying(daemon: &Daemon, wire: &mut Wire, shape: Shape) -> Result<Vec<Row>> {
    let Wire { worker, cgroup, near, .. } = wire;
    let fault = || {
        Fault::NetworkDelay(v1::NetworkDelay {
            jitter: span(Duration::from_millis(JITTER)),
            distribution: shape.proto().into(),
            // As netem does it.
            reorder: true,
            ..latency(Duration::from_millis(LATENCY))
        })
    };
    let netem = format!("netem delay {LATENCY}ms {JITTER}ms limit 100000{}", shape.netem());
    let mut conditions: [Condition<'_>; 2] =
        [Box::new(|| daemon.during(spec(cgroup, fault()))), Box::new(|| root_qdisc(near, &netem))];
    let plan = plan(STRAYING, 20 * LATENCY);
    let [ours, netem] =
        pool(ROUNDS, &mut conditions, || Ok(worker.fly(FLOW, &plan)?.delays().collect()))?;
    let title = format!("network delay {LATENCY} ± {JITTER} ms, {}", shape.name());
    let mut rows = Vec::new();
    for share in SHARES {
        let asked = LATENCY as f64 + JITTER as f64 * shape.quantile(share);
        let baseline = format!("asked: {asked:.2} ms; netem: {:.2} ms", quantile(&netem, share));
        let name = format!("{title}: p{:.0}", share * 100.0);
        rows.push(Row::new(name, quantile(&ours, share), "ms").against(baseline));
    }
    let from_asked = |delays: &[f64]| {
        let chance = |delay| shape.chance((delay - LATENCY as f64) / JITTER as f64);
        distance(delays, chance)
    };
    let most = critical_distance(ours.len());
    rows.push(
        Row::new(format!("{title}: distance (KS)"), from_asked(&ours), "")
            .against(format!("netem: {:.4}", from_asked(&netem)))
            .goal(Goal::AtMost(most)),
    );
    Ok(rows)
}

fn plan(count: usize, late_millis: u64) -> Plan {
    Plan { count, bytes: 100, apart: APART, patience: Duration::from_millis(2 * late_millis + 50) }
}
