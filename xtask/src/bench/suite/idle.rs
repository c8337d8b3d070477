//! A daemon that nobody asks for anything.

use std::{thread::sleep, time::Duration};

use anyhow::Result;

use crate::{
    daemon::{Daemon, everything, loss},
    place::{Cgroup, NetNs},
    process,
    row::{Goal, Row},
    setting::Subjects,
    worker::Worker,
};

/// After what was done last: threads for what may block end when they had nothing to do for ten seconds.
const REST: Duration = Duration::from_secs(12);
const WATCHED: Duration = Duration::from_secs(10);
/// The lease of 15 s is renewed after a third of it.
const RENEWALS: f64 = 2.0;

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    sleep(REST);
    let memory = process::memory(daemon.pid())?;
    let idle = wake_ups(daemon.pid())?;
    let (netns, parent) = (NetNs::new()?, Cgroup::new()?);
    // Not below the root, where the daemon would hear of every cgroup that others remove.
    let cgroups = parent.children(1)?;
    let _workers: Vec<Worker> =
        cgroups.iter().map(|cgroup| Worker::start(cgroup, &netns)).collect::<Result<_>>()?;
    let specs = cgroups.iter().map(|cgroup| loss(cgroup, everything()));
    daemon.inject_all(specs.collect(), 1)?;
    sleep(REST);
    let leased = wake_ups(daemon.pid())?;
    daemon.recover_all()?;
    Ok(vec![
        Row::new("idle: daemon's memory", memory, "MiB")
            .against("chaosmetad: 30 MB, Chaos Mesh's daemon: 48 MB")
            .goal(Goal::AtMost(15.0)),
        Row::new("idle: wake-ups in 10 s, no injections", idle, "").goal(Goal::AtMost(0.0)),
        Row::new("idle: wake-ups in 10 s, one injection", leased, "")
            .against("the lease is renewed every 5 s")
            .goal(Goal::AtMost(RENEWALS)),
    ])
}

/// A thread that wakes sleeps again.
fn wake_ups(pid: u32) -> Result<f64> {
    let before = process::sleeps(pid)?;
    sleep(WATCHED);
    let after = process::sleeps(pid)?;
    let more = |(thread, count): (&String, &u64)| count - before.get(thread).unwrap_or(&0);
    Ok(after.iter().map(more).sum::<u64>() as f64)
}
