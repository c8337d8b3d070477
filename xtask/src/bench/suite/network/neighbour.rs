//! What a neighbour on the same interface pays for many rules of ours, and for as many filters of `tc`.

use std::{fmt::Write as _, fs, time::Duration};

use anyhow::Result;
use chaos_common::proto::v1::{self, fault::Fault};

use super::{
    latency, span,
    wire::{DEVICE, FAR, FLOW, Wire, root_qdisc},
};
use crate::{
    compare::{compare, nothing},
    daemon::{Daemon, spec},
    place::{Cgroup, NetNs},
    plot::thousands,
    row::{Goal, Point, Row},
    setting::Subjects,
    worker::Worker,
};

const RULES: [usize; 4] = [1, 100, 1_000, 10_000];
/// A cgroup takes sixteen.
const ON_A_CGROUP: usize = 10;
/// A hash table of u32 takes 4,095.
const IN_A_TABLE: usize = 2_500;
const CLIENTS: usize = 4;
const ROUNDS: u32 = 8;
const WRITES: u32 = 40;
const TRIPS: usize = 300;
/// Of each write.
const BYTES: f64 = 64.0 * 1024.0;
const LATENCY: Duration = Duration::from_millis(10);
/// Longer than measuring takes.
const LIFETIME: Duration = Duration::from_secs(3600);
const LINK: &str = "tcp";
const THROUGHPUT: Goal = Goal::AtLeast(0.98);
const ROUND_TRIP: Goal = Goal::AtMost(1.0 / 0.98);

pub(in crate::suite) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let mut quiet = neighbour()?;
    let mut rows = rules(subjects, &mut quiet)?;
    rows.extend(filters(subjects, &mut quiet)?);
    Ok(rows)
}

/// The target is idle, on the same interface; other targets are elsewhere.
fn rules(subjects: &Subjects, quiet: &mut Wire) -> Result<Vec<Row>> {
    let mut busy = neighbour()?;
    let (target, parent) = (Cgroup::new()?, Cgroup::new()?);
    let _target = Worker::start(&target, &busy.near)?;
    let others = parent.children(RULES[3] / ON_A_CGROUP)?;
    let daemon = Daemon::start(subjects)?;
    let rule = |number: usize| {
        let cgroup = number.checked_sub(1).map_or(&target, |other| &others[other / ON_A_CGROUP]);
        let spec = spec(cgroup, Fault::NetworkDelay(latency(LATENCY)));
        v1::Spec { duration: span(LIFETIME), ..spec }
    };
    let mut rows = Vec::new();
    let mut there = 0;
    for count in RULES {
        daemon.inject_all((there..count).map(rule).collect(), CLIENTS)?;
        there = count;
        rows.extend(beside("chaos", "rules", count, quiet, &mut busy)?);
    }
    daemon.recover_all()?;
    let goals = [THROUGHPUT, ROUND_TRIP].into_iter().cycle();
    Ok(rows.into_iter().zip(goals).map(|(row, goal)| row.goal(goal)).collect())
}

/// The tree that tools build: what a filter matches goes to a band with netem.
fn filters(subjects: &Subjects, quiet: &mut Wire) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for count in RULES {
        let mut busy = neighbour()?;
        plant(&busy.near, count, &subjects.cache.join("filters"))?;
        rows.extend(beside("prio + u32", "filters", count, quiet, &mut busy)?);
    }
    Ok(rows)
}

/// The neighbour's packets match none of them.
fn plant(near: &NetNs, count: usize, scratch: &std::path::Path) -> Result<()> {
    let netem = format!("parent 1:4 netem delay {}ms", LATENCY.as_millis());
    drop(root_qdisc(near, "handle 1: prio bands 4 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0")?);
    near.command("tc", &format!("qdisc add dev {DEVICE} {netem}"))?;
    let mut batch = String::new();
    for number in 0..count {
        let (table, third, last) = (number / IN_A_TABLE + 1, number / 250, number % 250 + 1);
        writeln!(
            batch,
            "filter add dev {DEVICE} parent 1: protocol ip prio {table} u32 match ip dst 10.99.{third}.{last}/32 flowid 1:4"
        )?;
    }
    fs::write(scratch, batch)?;
    near.command("tc", &format!("-batch {}", scratch.display()))?;
    Ok(fs::remove_file(scratch)?)
}

fn neighbour() -> Result<Wire> {
    let mut wire = Wire::new()?;
    wire.worker.link(LINK, FAR, &wire.far)?;
    Ok(wire)
}

/// Two rows: with something on the interface, and without.
fn beside(
    who: &str,
    what: &str,
    count: usize,
    quiet: &mut Wire,
    busy: &mut Wire,
) -> Result<[Row; 2]> {
    let samples = compare(ROUNDS, &mut [nothing()], || {
        let ([quiet_write, quiet_trip], [busy_write, busy_trip]) =
            (measure(quiet)?, measure(busy)?);
        Ok(vec![quiet_write / busy_write, busy_trip / quiet_trip, quiet_write, quiet_trip])
    })?;
    let row = |operation: usize, panel: &str, none: String| {
        let point = Point { panel: panel.to_owned(), curve: who.to_owned(), at: count as f64 };
        let name = format!("network neighbour, {who}, {} {what}: {panel}", thousands(count));
        Row::ratio(name, samples.figure(0, operation), none).plotted(point)
    };
    let giga = BYTES * 8.0 / samples.figure(0, 2);
    let micros = samples.figure(0, 3) / 1e3;
    Ok([
        row(0, "TCP throughput", format!("no fault: {giga:.2} Gbit/s")),
        row(1, "p99 of a UDP round trip", format!("no fault: {micros:.1} µs")),
    ])
}

/// Nanoseconds of a write, and of the longer ones of the round trips.
fn measure(wire: &mut Wire) -> Result<[f64; 2]> {
    let write = wire.worker.write(LINK, WRITES)?;
    let (_, most) = wire.worker.round_trips(FLOW, TRIPS)?;
    Ok([write, most])
}
