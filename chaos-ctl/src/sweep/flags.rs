//! The flags of a sweep.

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf};

use chaos_common::{spec::Untargeted, value::Lifetime};

use super::{Sweep, positions::Positions, swept::Swept};
use crate::{error::Usage, fault::of_flag};

/// Under this heading they are, and hidden where they would be refused.
pub(crate) const HEADING: &str = "Sweep: one run for each call";

/// All of them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = HEADING)]
pub(crate) struct SweepFlags {
    /// Fail the 1st matching call, then the 2nd, …, one in each run: 10..20, 7
    ///
    /// The command runs once without a failing call, which counts them, and then once for each: a table says at
    /// which of them it crashes, hangs, loses data or exits wrong. Without an end at most 1000 are tried. It has
    /// no input, and what it leaves running is killed after each run. The exit code is 3 if something was found.
    #[arg(
        long,
        value_name = "POSITIONS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "..",
        allow_hyphen_values = true
    )]
    sweep: Option<Positions>,

    /// Run this before each run: what makes each begin the same
    ///
    /// A shell's command. CHAOS_POSITION is the position in its environment, or `baseline`. If it fails the sweep
    /// ends. What it leaves running is killed.
    #[arg(long, value_name = "COMMAND", requires = "sweep", allow_hyphen_values = true)]
    before: Option<String>,

    /// Run this after each run: if it fails, data was lost
    ///
    /// A shell's command. CHAOS_POSITION as with --before, and CHAOS_EXIT is what the command exited with: 128 and
    /// the signal's number if one ended it, 137 if it did not end.
    #[arg(long, value_name = "COMMAND", requires = "sweep", allow_hyphen_values = true)]
    check: Option<String>,

    /// A run hangs after so long [default: 10 times the first, and 5s]
    ///
    /// It is killed then.
    #[arg(long, value_name = "DURATION", requires = "sweep", allow_hyphen_values = true)]
    timeout: Option<Lifetime>,

    /// A run may end with these exit codes only; others are wrong: 0,1
    ///
    /// Without it any may be, but 0 where the command does not exit with that when no call fails. List no 0 if the
    /// command has to tell of each failed call.
    #[arg(
        long,
        value_name = "CODE",
        requires = "sweep",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    codes: Vec<u8>,

    /// Keep what each run says in this folder, as 7.out and 7.err
    #[arg(long, value_name = "FOLDER", requires = "sweep")]
    keep: Option<PathBuf>,

    /// Fail calls of this running process and its cgroup, not of the command
    ///
    /// The command is what gives it something to do, as one request. It has crashed if it is gone after a run, and
    /// then the sweep ends.
    #[arg(
        id = "sweep_pid",
        long = "pid",
        value_name = "PID",
        requires = "sweep",
        allow_hyphen_values = true
    )]
    pid: Option<NonZeroU32>,
}

impl SweepFlags {
    /// Whether a sweep is asked for.
    pub(crate) fn is_given(&self) -> bool {
        self.sweep.is_some()
    }

    /// What is asked for.
    ///
    /// # Errors
    /// When the fault cannot be swept, or something contradicts it.
    pub(crate) fn sweep(self, fault: Untargeted, command: Vec<OsString>) -> Result<Sweep, Usage> {
        let Self { sweep, before, check, timeout, codes, keep, pid } = self;
        Ok(Sweep {
            swept: Swept::of(fault).map_err(|invalid| Usage::of(of_flag(invalid)))?,
            positions: sweep.unwrap_or(Positions::ALL),
            command,
            pid: pid.map(NonZeroU32::get),
            before,
            check,
            timeout: timeout.map(Lifetime::get),
            codes,
            keep,
        })
    }
}
