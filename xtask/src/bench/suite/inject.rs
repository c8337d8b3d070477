//! How soon a fault is there after it was asked for, and how many can be asked for in a second.

use std::time::Instant;

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};

use crate::{
    daemon::{Daemon, everything, loss},
    place::{Cgroup, NetNs},
    row::{Goal, Row},
    setting::{Scene, Subjects},
    statistics::quantile,
    worker::Worker,
};

const ROUNDS: usize = 200;
const CGROUPS: usize = 100;
/// On each of them.
const INJECTIONS: usize = 10;
/// At a time.
const CLIENTS: usize = 16;

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let mut rows = latency(subjects)?;
    rows.extend(throughput(subjects)?);
    Ok(rows)
}

/// The target sends all the time. What counts is from before the call to the moment in which it sent the
/// first datagram that never came.
fn latency(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut scene = Scene::new()?;
    let mut taken = Vec::with_capacity(ROUNDS);
    let mut answered = Vec::with_capacity(ROUNDS);
    for _ in 0..=ROUNDS {
        scene.worker.begin_race("lo")?;
        let asked = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let begin = Instant::now();
        let id = daemon.inject(loss(&scene.cgroup, everything()))?;
        answered.push(begin.elapsed().as_secs_f64() * 1000.0);
        let lost = scene.worker.end_race()?;
        let asked = asked.tv_sec() * 1_000_000_000 + asked.tv_nsec();
        taken.push((lost - asked) as f64 / 1e6);
        daemon.recover(id)?;
    }
    let (taken, answered) = (&taken[1..], &answered[1..]);
    let row = |name, values, share| Row::new(name, quantile(values, share), "ms");
    Ok(vec![
        row("inject → first packet lost, p50", taken, 0.5),
        row("inject → first packet lost, p99", taken, 0.99).goal(Goal::AtMost(5.0)),
        row("inject: the call itself, p50", answered, 0.5)
            .against("chaosmetad: 30–230 ms, with 625 tc rules 1.4 s"),
        row("inject: the call itself, p99", answered, 0.99),
    ])
}

/// On cgroups with a process each.
fn throughput(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let netns = NetNs::new()?;
    let parent = Cgroup::new()?;
    let cgroups = parent.children(CGROUPS)?;
    let _workers: Vec<Worker> =
        cgroups.iter().map(|cgroup| Worker::start(cgroup, &netns)).collect::<Result<_>>()?;
    let specs =
        cgroups.iter().flat_map(|cgroup| (0..INJECTIONS).map(|_| loss(cgroup, everything())));
    let begin = Instant::now();
    daemon.inject_all(specs.collect(), CLIENTS)?;
    let injected = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    daemon.recover_all()?;
    let recovered = begin.elapsed().as_secs_f64();
    Ok(vec![
        Row::new("inject: 1,000 injections, 16 clients", injected, "s")
            .against("chaosmetad: 15.5 s")
            .goal(Goal::AtMost(1.0)),
        Row::new("inject: 1,000 injections recovered", recovered, "s").goal(Goal::AtMost(1.0)),
    ])
}
