//! The programs themselves: how big they are, and how long the kernel says that they run.

use anyhow::{Result, ensure};
use aya::sys::{Stats, enable_stats};
use chaos_common::proto::v1::{self, Direction};

use crate::{
    compare::Leave,
    daemon::{Daemon, everything, loss, never},
    place::Cgroup,
    process::{self, Kind},
    program::Empty,
    row::Row,
    setting::{Scene, Subjects},
    statistics::median,
    worker::Worker,
};

/// Of sends, between two looks at the counters.
const BATCHES: u32 = 100;

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let empty = Empty::load(subjects.empty()?)?;
    let mut rows = Vec::new();
    for (name, kind) in [("net_out", Kind::Out), ("net_in", Kind::In)] {
        let program = process::program(daemon.pid(), kind)?;
        rows.push(Row::new(
            format!("program {name}: size"),
            program.translated as f64,
            "instructions",
        ));
        let verified =
            Row::new(format!("program {name}: verified"), program.verified as f64, "instructions");
        rows.push(verified.against("the kernel takes up to 1,000,000"));
    }
    // The counting ends with the descriptor.
    let _counting = enable_stats(Stats::RunTime)?;
    let own = std::process::id();
    let mut scene = Scene::new()?;
    let beside = Cgroup::new()?;
    let _beside = Worker::start(&beside, &scene.netns)?;
    let worker = &mut scene.worker;
    let mut time = |pid: u32, kind: Kind, leave: Leave<'_>| {
        let time = per_run(worker, pid, kind, subjects.rounds);
        leave()?;
        time
    };

    let empty_out = time(own, Kind::Out, empty.attach_out(&scene.netns)?)?;
    let empty_in = time(own, Kind::In, empty.attach_in(&scene.cgroup)?)?;
    let fault =
        |cgroup: &Cgroup, filter: &v1::NetworkFilter| daemon.during(loss(cgroup, filter.clone()));
    let (all, out, incoming) = (everything(), never(Direction::Out), never(Direction::In));
    for (name, kind, cgroup, filter, empty) in [
        ("neighbour's packet", Kind::Out, &beside, &all, empty_out),
        ("target's packet, no match", Kind::Out, &scene.cgroup, &out, empty_out),
        ("target's packet, lost", Kind::Out, &scene.cgroup, &all, empty_out),
        ("target's packet, no match", Kind::In, &scene.cgroup, &incoming, empty_in),
    ] {
        let time = time(daemon.pid(), kind, fault(cgroup, filter)?)?;
        let program = match kind {
            Kind::Out => "net_out",
            Kind::In => "net_in",
        };
        let row = Row::new(format!("program {program}: {name}"), time, "ns per run");
        rows.push(row.against(format!("empty program: {empty:.0} ns")));
    }
    Ok(rows)
}

/// Nanoseconds of one run, while the worker sends over `lo`.
fn per_run(worker: &mut Worker, pid: u32, kind: Kind, rounds: u32) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let before = process::program(pid, kind)?;
        worker.send("lo", BATCHES)?;
        let after = process::program(pid, kind)?;
        let runs = after.runs - before.runs;
        ensure!(runs > 0, "the program did not run");
        times.push((after.run_ns - before.run_ns) as f64 / runs as f64);
    }
    Ok(median(&times))
}
