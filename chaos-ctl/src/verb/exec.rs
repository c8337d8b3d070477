//! `chaos exec`

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::bail;
use chaos_common::spec::Untargeted;

use crate::{
    error::Usage,
    exec::{self, Job, Summary},
    fault::{FaultCommand, of_flag},
    file,
    life::LifeArgs,
};

/// Run a command with faults on it and on nothing else; needs no daemon
///
/// The command gets a cgroup of its own, and when it ends nothing stays. Its exit code is that of
/// this program, and signals sent to this program go on to it: all but KILL, STOP, CHLD, and ILL,
/// SEGV, BUS and FPE.
///
///   chaos exec network loss --percent 10 -- curl https://example.org
///   chaos exec -f faults.yaml -- ./run-tests
#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Faults from a file of YAML documents without targets, `-` being standard input
    #[arg(short, long, value_name = "FILE", required = true)]
    file: Option<PathBuf>,

    /// Say on standard error, when the command has ended, what the faults did
    #[arg(long)]
    summary: bool,

    /// The command and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND", required = true, help_heading = "Command")]
    command: Vec<OsString>,

    #[command(subcommand)]
    fault: Option<FaultCommand<Rest>>,
}

/// What comes with a fault from flags.
#[derive(Clone, Debug, clap::Args)]
struct Rest {
    #[command(flatten)]
    life: LifeArgs,

    /// Say on standard error, when the command has ended, what the faults did
    #[arg(long)]
    summary: bool,

    /// The command and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND", required = true, help_heading = "Command")]
    command: Vec<OsString>,
}

/// Runs the command and gives its exit code.
///
/// # Errors
/// When the file cannot be used or a fault not be made; the command has not run then.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    exec::run(job(args)?)
}

fn job(args: Args) -> anyhow::Result<Job> {
    match args {
        Args { file: None, fault: Some(FaultCommand { fault, rest }), .. } => {
            let LifeArgs { duration, times, seed } = rest.life;
            let fault = Untargeted { fault, duration, times, seed }.checked();
            let fault = fault.map_err(|invalid| Usage::of(of_flag(invalid)))?;
            Ok(Job { faults: vec![fault], command: rest.command, summary: summary(rest.summary) })
        }
        Args { file: Some(path), fault: None, command, summary: asked } => {
            let faults = file::documents(&path, &file::read(&path)?)?;
            Ok(Job { faults, command, summary: summary(asked) })
        }
        Args { file: Some(_), fault: Some(_), .. } | Args { file: None, fault: None, .. } => {
            bail!(Usage::of("give either a fault or --file"))
        }
    }
}

fn summary(asked: bool) -> Summary {
    if asked { Summary::Print } else { Summary::Omit }
}
