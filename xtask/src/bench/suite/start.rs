//! How long a program takes from its start to its end.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    daemon::Daemon,
    row::{Goal, Row},
    setting::Subjects,
    statistics::median,
};

const QUICK: Goal = Goal::AtMost(5.0);
const TIMES: usize = 50;

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let version = elapsed(&subjects.chaos, &["--version"], TIMES)?;
    let mut serving = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        let _daemon = Daemon::start(subjects)?;
        serving.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    let daemon = Daemon::start(subjects)?;
    let list =
        elapsed(&subjects.chaos, &["--socket", &daemon.socket().to_string_lossy(), "ls"], TIMES)?;
    Ok(vec![
        Row::new("start: `chaos --version`", version, "ms").goal(QUICK),
        Row::new("start: `chaos ls`, no injections", list, "ms").goal(QUICK),
        Row::new("start: chaos-daemon until it serves", median(&serving), "ms"),
    ])
}

/// Milliseconds of a whole run.
pub(super) fn elapsed(program: &Path, arguments: &[&str], times: usize) -> Result<f64> {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..=times {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begin = Instant::now();
        let status =
            command.status().with_context(|| format!("cannot start {}", program.display()))?;
        taken.push(begin.elapsed().as_secs_f64() * 1000.0);
        ensure!(
            status.success(),
            "{} {} ended with {status}",
            program.display(),
            arguments.join(" ")
        );
    }
    // The first one found nothing in the page cache.
    Ok(median(&taken[1..]))
}
