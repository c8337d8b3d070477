//! Fails the first matching call of a command, then the second, and so on, one in each run, and says what becomes of it.
//!
//! # Flow
//! Without the fault firing, to count the calls and to know how the command ends; then a run for each position. A run
//! is: `--before`, the command in a cgroup of its own with the fault on it, `--check`. Whatever one of these leaves
//! running is killed before the next begins.
//!
//! # Guarantees
//! * In each run one call fails at most, and it is the one at that position among those that the kernel counted.
//! * However it ends, short of SIGKILL, no command goes on and no fault is left.

pub(crate) mod flags;
mod ground;
mod positions;
mod process;
mod progress;
mod report;
mod series;
mod shell;
mod swept;
mod tail;
mod verdict;

pub(crate) use flags::SweepFlags;
pub(crate) use swept::has_positions;

use std::{ffi::OsString, path::PathBuf, process::ExitCode, time::Duration};

use chaos_daemon::policy::Policy;

use crate::{app::App, error::note, exec, outcome::Outcome};
use ground::{Ground, Interrupted};
use positions::Positions;
use process::Running;
use series::Series;
use swept::Swept;

/// A sweep as it was asked for.
#[derive(Debug)]
pub(crate) struct Sweep {
    swept: Swept,
    positions: Positions,
    command: Vec<OsString>,
    /// A process that runs already and is hit instead of the command.
    pid: Option<u32>,
    before: Option<String>,
    check: Option<String>,
    timeout: Option<Duration>,
    codes: Vec<u8>,
    keep: Option<PathBuf>,
}

/// Sweeps, and shows what came of it, also where it could not be done to its end.
///
/// # Errors
/// When there is nothing to sweep, or something other than the command does not work.
pub(crate) fn run(sweep: Sweep, app: &mut App) -> anyhow::Result<ExitCode> {
    let process = sweep.pid.map(Running::of).transpose()?;
    // Who aims at what is not theirs is held to what this node allows.
    let policy = match process {
        None => Policy::of_own_children(),
        Some(_) => Policy::load(None)?,
    };
    let mut ground = Ground::prepare(policy, sweep.keep.clone()).map_err(exec::with_remedy)?;
    let mut series = Series::new(sweep, process);
    let done = series.run(&mut ground, app.out.format());
    ground.clear();
    let report = series.report();
    if let Some(report) = &report {
        report.show(app)?;
    }
    match done {
        Ok(()) if report.is_some_and(|report| report.has_found()) => Ok(Outcome::Found.into()),
        Ok(()) => Ok(Outcome::Done.into()),
        Err(error) => match error.downcast_ref() {
            Some(Interrupted(signal)) => {
                note(&error, app.out.format());
                Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1)))
            }
            None => Err(exec::with_remedy(error)),
        },
    }
}
