//! How soon a fault is there after it was asked for, and how many can be asked for in a second.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::Instant,
};

use anyhow::Result;
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime},
};

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
    let mut rows = Vec::new();
    let (mut calls, mut flushes) = (Vec::new(), Vec::new());
    let row = |name: &str, share: f64, values: &[f64]| {
        Row::new(format!("{name}, p{:.0}", share * 100.0), quantile(values, share), "ms")
    };
    for link in ["veth", "lo"] {
        let mut taken = Vec::new();
        for _ in 0..ROUNDS {
            flushes.push(flush(&daemon.folder())?);
            scene.worker.begin_race(link)?;
            let begin = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
            let id = daemon.inject(loss(&scene.cgroup, everything()))?;
            let end = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
            let lost = scene.worker.end_race()?;
            taken.push((lost - nanoseconds(begin)) as f64 / 1e6);
            calls.push((nanoseconds(end) - nanoseconds(begin)) as f64 / 1e6);
            daemon.recover(id)?;
        }
        let name = format!("inject → first packet lost, {link}");
        rows.push(row(&name, 0.5, &taken));
        rows.push(row(&name, 0.99, &taken).goal(Goal::AtMost(5.0)));
    }
    let what = "the journal's share: a file and its folder flushed";
    rows.push(row(&format!("inject: {what}"), 0.5, &flushes));
    rows.push(row(&format!("inject: {what}"), 0.99, &flushes));
    let peer = "chaosmetad: 30–230 ms, with 625 tc rules 1.4 s";
    rows.push(row("inject: the call itself, two interfaces", 0.5, &calls).against(peer));
    rows.push(row("inject: the call itself, two interfaces", 0.99, &calls));
    Ok(rows)
}

/// Milliseconds that the disk takes for what every injection has to wait for.
fn flush(folder: &Path) -> Result<f64> {
    let (folder, path) = (File::open(folder)?, folder.join("flushed"));
    let begin = Instant::now();
    let mut file = File::create(&path)?;
    file.write_all(&[b' '; 600])?;
    file.sync_data()?;
    folder.sync_all()?;
    let taken = begin.elapsed().as_secs_f64() * 1e3;
    fs::remove_file(path)?;
    Ok(taken)
}

fn nanoseconds(time: TimeSpec) -> i64 {
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
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
