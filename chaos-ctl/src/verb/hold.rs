//! `chaos hold`: how `chaos exec` starts its command. Not for people.

use std::{ffi::OsString, process::ExitCode};

use crate::exec;

/// Wait for a byte, then become a command; `chaos exec` uses it
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    /// The descriptor to read from
    gate: i32,

    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the command.
pub(super) fn run(args: &Args) -> ExitCode {
    exec::hold(args.gate, &args.command)
}
