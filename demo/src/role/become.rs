//! Becomes the daemon, with one thing set before: when the demo dies unseen, the daemon gets SIGTERM, and thereby
//! recovers everything.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use clap::Args;
use nix::sys::{prctl::set_pdeathsig, signal::Signal};

/// What to become.
#[derive(Args)]
pub(crate) struct Options {
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    argv: Vec<OsString>,
}

/// Returns only if it cannot.
pub(crate) fn run(options: &Options) -> Result<()> {
    set_pdeathsig(Signal::SIGTERM).context("cannot tie the daemon to the demo")?;
    let (program, arguments) = options.argv.split_first().context("become what?")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
