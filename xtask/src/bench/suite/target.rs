//! What a target pays for a rule whose filter does not match, above what any program costs there.

use anyhow::Result;
use chaos_common::proto::v1::Direction;

use super::{Against, ratios};
use crate::{
    compare::{Condition, compare, nothing},
    daemon::{Daemon, loss, never},
    program::Empty,
    row::{Goal, Row},
    setting::{Scene, Subjects, measure},
};

const CLOSE_TO_EMPTY: Goal = Goal::AtMost(1.05);

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let empty = Empty::load(subjects.empty()?)?;
    let mut rows = Vec::new();
    for (way, direction) in [("out", Direction::Out), ("in", Direction::In)] {
        let mut scene = Scene::new()?;
        let attach = || match direction {
            Direction::In => empty.attach_in(&scene.cgroup),
            Direction::Out | Direction::Both | Direction::Unspecified => {
                empty.attach_out(&scene.netns)
            }
        };
        let mut conditions: [Condition<'_>; 3] = [
            nothing(),
            Box::new(attach),
            Box::new(|| daemon.during(loss(&scene.cgroup, never(direction)))),
        ];
        let samples = compare(subjects.rounds, &mut conditions, || measure(&mut scene.worker))?;
        let to_empty =
            Against { of: 2, to: 1, baseline: "empty program", goal: Some(CLOSE_TO_EMPTY) };
        let to_none = Against { of: 2, to: 0, baseline: "no program", goal: None };
        rows.extend(ratios(&format!("target, no match, {way}"), &samples, to_empty));
        rows.extend(ratios(&format!("target, no match, {way}, to none"), &samples, to_none));
    }
    Ok(rows)
}
