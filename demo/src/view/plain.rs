//! One line a second, for logs and terminals that can do no more. Pure.

use std::time::Duration;

use super::{Scene, frame::recent, paint::share};
use crate::phase::Phase;

/// The last second.
pub(super) fn line(scene: &Scene) -> String {
    let second = scene.now.since(scene.course.began).as_secs();
    // The line is about the second that has just passed.
    let middle =
        scene.course.began.after(Duration::from_millis((second * 1000).saturating_sub(500)));
    let phase = scene.course.of(middle).map_or("…", Phase::name);
    let mut line = format!("{second:>3} s {phase:<6}");
    for (name, requests) in ["A", "B"].into_iter().zip(&scene.requests) {
        let figures = recent(requests, scene.now, Duration::from_secs(1));
        line += &figures.map_or_else(
            || format!(" | {name} no request ended"),
            |f| {
                format!(
                    " | {name} {:>6} p50 {:>6} p99 {:>6}",
                    share(f.answered_percent()),
                    f.p50,
                    f.p99
                )
            },
        );
    }
    if let Some(deadline) = scene.course.deadline() {
        let left = deadline.since(scene.now).as_secs_f64();
        line += &format!(" | lost {} of {}", scene.injection.fired, scene.injection.matched);
        line += &if left > 0.0 { format!(", {left:.0} s left") } else { ", over".to_owned() };
    }
    line
}
