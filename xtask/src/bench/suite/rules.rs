//! Many rules on the node: what they cost a target's packets, in memory, and to list.

use std::{thread::sleep, time::Duration};

use anyhow::Result;
use chaos_common::proto::v1::Direction;

use super::{Against, ratios, start::elapsed};
use crate::{
    compare::{Condition, compare},
    daemon::{Daemon, loss, never},
    place::Cgroup,
    process,
    row::{Goal, Row},
    setting::{Scene, Subjects, measure},
};

/// On so many cgroups.
const CGROUPS: usize = 1000;
/// On each of them.
const RULES: usize = 10;
/// What the daemon frees late, it has freed by then.
const REST: Duration = Duration::from_secs(2);

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let mut scene = Scene::new()?;
    let parent = Cgroup::new()?;
    let others = parent.children(CGROUPS)?;
    let (few, many) = (Daemon::start(subjects)?, Daemon::start(subjects)?);
    let rules =
        others.iter().flat_map(|other| (0..RULES).map(|_| loss(other, never(Direction::Out))));
    many.inject_all(rules.collect(), 16)?;

    let mut conditions: [Condition<'_>; 2] = [
        Box::new(|| few.during(loss(&scene.cgroup, never(Direction::Out)))),
        Box::new(|| many.during(loss(&scene.cgroup, never(Direction::Out)))),
    ];
    let samples = compare(subjects.rounds, &mut conditions, || measure(&mut scene.worker))?;
    let flat = Against { of: 1, to: 0, baseline: "1 rule", goal: Some(Goal::NearOne(0.05)) };
    let mut rows: Vec<Row> = ratios("rules: 10,000 on the node", &samples, flat).collect();

    drop(conditions);
    drop(few);
    sleep(REST);
    let memory = Row::new("rules: 10,000, daemon's memory", process::memory(many.pid())?, "MiB");
    rows.push(memory.goal(Goal::AtMost(64.0)));
    let list = elapsed(&subjects.chaos, &["--socket", &many.socket().to_string_lossy(), "ls"], 20)?;
    rows.push(Row::new("rules: 10,000, `chaos ls`", list, "ms").goal(Goal::AtMost(100.0)));
    let begin = std::time::Instant::now();
    many.recover_all()?;
    rows.push(Row::new("rules: 10,000 recovered", begin.elapsed().as_secs_f64(), "s"));
    Ok(rows)
}
