//! How soon a fault acts after it was asked for and ends after it was taken back, and what becomes of what it holds.

use std::{thread::sleep, time::Duration};

use anyhow::{Context as _, Result};
use chaos_common::proto::v1::{self, fault::Fault};
use nix::time::{ClockId, clock_gettime};

use super::{
    latency,
    wire::{FLOW, Wire},
};
use crate::{
    daemon::{Daemon, everything, loss, never, spec},
    flight::{Packet, Plan},
    row::{Goal, Row},
    setting::Subjects,
    statistics::quantile,
};

const ROUNDS: usize = 100;
const LATENCY: Duration = Duration::from_millis(20);
/// In nanoseconds: what is later than this was held.
const LATE: i64 = 10_000_000;
/// The target sends all the time, longer than a fault is there.
const TRAFFIC: Plan = Plan {
    count: 500,
    bytes: 16,
    apart: Duration::from_micros(250),
    patience: Duration::from_millis(100),
};
/// Before the fault is asked for, and until it is taken back.
const BEFORE: Duration = Duration::from_millis(10);
const DURING: Duration = Duration::from_millis(40);
const SOON: Goal = Goal::AtMost(5.0);

/// What a round showed, in milliseconds and packets.
struct Round {
    applied: f64,
    ended: f64,
    /// Sent when the call to recover had returned, and held or lost all the same.
    after: usize,
    /// Held at the moment of the call to recover.
    held: usize,
    lost: usize,
}

pub(in crate::suite) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut wire = Wire::new()?;
    let mut rows = Vec::new();
    let all_lost = loss(&wire.cgroup, everything());
    let all_late = spec(&wire.cgroup, Fault::NetworkDelay(latency(LATENCY)));
    let rounds = rounds(&daemon, &mut wire, &all_lost)?;
    rows.extend(times("loss", &rounds));
    let rounds = self::rounds(&daemon, &mut wire, &all_late)?;
    rows.extend(times("delay", &rounds));
    // The first hook of a node is live when the kernel has waited for an RCU grace period, others are at once: it is
    // only then that `tcx_link_prog_attach` switches hooks on, for all interfaces together.
    let elsewhere = Wire::new()?;
    let id = daemon.inject(loss(&elsewhere.cgroup, everything()))?;
    rows.extend(times(
        "loss, another fault elsewhere",
        &self::rounds(&daemon, &mut wire, &all_lost)?,
    ));
    daemon.recover(id)?;
    let id = daemon.inject(loss(&wire.cgroup, never(v1::Direction::Out)))?;
    rows.extend(times("loss, another fault here", &self::rounds(&daemon, &mut wire, &all_lost)?));
    daemon.recover(id)?;
    let held: usize = rounds.iter().map(|round| round.held).sum();
    let lost: usize = rounds.iter().map(|round| round.lost).sum();
    rows.push(
        Row::new("network effect of delay: lost over recovery", lost as f64, "packets")
            .against(format!(
                "{held} were held when it was asked for, {} sent in all",
                ROUNDS * TRAFFIC.count
            ))
            .goal(Goal::AtMost(0.0)),
    );
    Ok(rows)
}

fn rounds(daemon: &Daemon, wire: &mut Wire, spec: &v1::Spec) -> Result<Vec<Round>> {
    (0..ROUNDS).map(|_| round(daemon, wire, spec.clone())).collect()
}

fn round(daemon: &Daemon, wire: &mut Wire, spec: v1::Spec) -> Result<Round> {
    wire.worker.begin_flight(FLOW, &TRAFFIC)?;
    sleep(BEFORE);
    let asked = now()?;
    let id = daemon.inject(spec)?;
    sleep(DURING);
    let taken_back = now()?;
    daemon.recover(id)?;
    let returned = now()?;
    let packets = wire.worker.end_flight()?.0;
    let is_hit = |packet: &&Packet| packet.delay.is_none_or(|delay| delay > LATE);
    let first = packets.iter().find(is_hit).context("the fault did nothing")?;
    let last = packets.iter().rfind(is_hit).context("the fault did nothing")?;
    let is_held = |packet: &&Packet| {
        packet.sent < taken_back && packet.arrived().is_none_or(|arrived| arrived > taken_back)
    };
    Ok(Round {
        applied: (first.sent - asked) as f64 / 1e6,
        ended: (last.sent - taken_back) as f64 / 1e6,
        after: packets.iter().filter(|packet| packet.sent > returned).filter(is_hit).count(),
        held: packets.iter().filter(is_held).count(),
        lost: packets.iter().filter(|packet| packet.delay.is_none()).count(),
    })
}

/// The rows that every fault has.
fn times(fault: &str, rounds: &[Round]) -> [Row; 4] {
    let row = |what: &str, share: f64, of: fn(&Round) -> f64| {
        let values: Vec<f64> = rounds.iter().map(of).collect();
        let name = format!("network effect of {fault}: {what}, p{:.0}", share * 100.0);
        Row::new(name, quantile(&values, share), "ms")
    };
    let after: usize = rounds.iter().map(|round| round.after).sum();
    let name = format!("network effect of {fault}: hit after recovery returned");
    [
        row("asked for → first packet hit", 0.5, |round| round.applied),
        row("asked for → first packet hit", 0.99, |round| round.applied).goal(SOON),
        row("taken back → last packet hit", 0.99, |round| round.ended).goal(SOON),
        Row::new(name, after as f64, "packets").goal(Goal::AtMost(0.0)),
    ]
}

/// By the clock of the day, as packets are stamped.
fn now() -> Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_REALTIME)?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}
