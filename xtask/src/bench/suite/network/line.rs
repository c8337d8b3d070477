//! A long line: how fast TCP is over it, and whether it holds everything that is under way.

use std::time::Duration;

use anyhow::Result;
use chaos_common::proto::v1::fault::Fault;

use super::{
    latency,
    wire::{FAR, FLOW, Wire, root_qdisc},
};
use crate::{
    compare::{Condition, compare, nothing},
    daemon::{Daemon, spec},
    flight::Plan,
    row::{Goal, Row},
    setting::Subjects,
    statistics::median,
};

const ROUNDS: u32 = 3;
const TRIP: Duration = Duration::from_millis(10);
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURED: Duration = Duration::from_millis(500);
const FAR_AWAY: Duration = Duration::from_secs(60);
const UNDER_WAY: Plan =
    Plan { count: 10_000, bytes: 100, apart: Duration::ZERO, patience: Duration::from_secs(62) };

pub(in crate::suite) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut wire = Wire::new()?;
    Ok(vec![speed(&daemon, &mut wire)?, capacity(&daemon, &mut wire)?])
}

fn speed(daemon: &Daemon, wire: &mut Wire) -> Result<Row> {
    let Wire { worker, cgroup, near, far } = wire;
    let netem = format!("netem delay {}ms limit 100000", TRIP.as_millis());
    let mut conditions: [Condition<'_>; 3] = [
        nothing(),
        Box::new(|| daemon.during(spec(cgroup, Fault::NetworkDelay(latency(TRIP))))),
        Box::new(|| root_qdisc(near, &netem)),
    ];
    let samples = compare(ROUNDS, &mut conditions, || {
        Ok(vec![worker.transfer(FAR, far, WARM_UP, MEASURED)?])
    })?;
    let mega = |condition| samples.figure(condition, 0) * 8.0 / 1e6;
    let name = format!("network line of {} ms: TCP", TRIP.as_millis());
    let baseline = format!("netem: {:.0} Mbit/s; the wire itself: {:.0} Mbit/s", mega(2), mega(0));
    Ok(Row::ratio(name, samples.ratio(1, 2, 0), baseline).goal(Goal::AtLeast(0.98)))
}

fn capacity(daemon: &Daemon, wire: &mut Wire) -> Result<Row> {
    let Wire { worker, cgroup, .. } = wire;
    let leave = daemon.during(spec(cgroup, Fault::NetworkDelay(latency(FAR_AWAY))))?;
    let flight = worker.fly(FLOW, &UNDER_WAY)?;
    leave()?;
    let delays: Vec<f64> = flight.delays().collect();
    let name = format!("network line of {} s: of 10,000 under way", FAR_AWAY.as_secs());
    Ok(Row::new(name, flight.arrived() as f64, "arrived")
        .against(format!("half of them after {:.5} s", median(&delays) / 1e3))
        .goal(Goal::AtLeast(UNDER_WAY.count as f64)))
}
