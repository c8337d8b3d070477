//! What others pay for a fault on a target: in another network namespace, and in the same one.

use anyhow::Result;

use super::{Against, ratios};
use crate::{
    compare::{Condition, compare, nothing},
    daemon::{Daemon, everything, loss},
    place::Cgroup,
    program::Empty,
    row::{Goal, Row},
    setting::{Scene, Subjects, measure},
    worker::Worker,
};

const NOTHING_MEASURABLE: Goal = Goal::AtMost(1.02);

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut rows = elsewhere(subjects, &daemon)?;
    rows.extend(beside(subjects, &daemon)?);
    Ok(rows)
}

fn elsewhere(subjects: &Subjects, daemon: &Daemon) -> Result<Vec<Row>> {
    let (target, mut neighbour) = (Scene::new()?, Scene::new()?);
    let mut conditions: [Condition<'_>; 2] =
        [nothing(), Box::new(|| daemon.during(loss(&target.cgroup, everything())))];
    let samples = compare(subjects.rounds, &mut conditions, || measure(&mut neighbour.worker))?;
    let against = Against { of: 1, to: 0, baseline: "no fault", goal: Some(NOTHING_MEASURABLE) };
    Ok(ratios("neighbour in another netns", &samples, against).collect())
}

fn beside(subjects: &Subjects, daemon: &Daemon) -> Result<Vec<Row>> {
    let mut neighbour = Scene::new()?;
    let cgroup = Cgroup::new()?;
    // The target's processes are what makes its namespace one of the target's.
    let _target = Worker::start(&cgroup, &neighbour.netns)?;
    let empty = Empty::load(subjects.empty()?)?;
    let mut conditions: [Condition<'_>; 3] = [
        nothing(),
        Box::new(|| empty.attach_out(&neighbour.netns)),
        Box::new(|| daemon.during(loss(&cgroup, everything()))),
    ];
    let samples = compare(subjects.rounds, &mut conditions, || measure(&mut neighbour.worker))?;
    let none = Against { of: 2, to: 0, baseline: "no fault", goal: Some(NOTHING_MEASURABLE) };
    let to_empty = Against { of: 2, to: 1, baseline: "empty program", goal: None };
    let name = "neighbour in the same netns";
    let against_empty = ratios("neighbour in the same netns, to empty", &samples, to_empty);
    Ok(ratios(name, &samples, none).chain(against_empty).collect())
}
