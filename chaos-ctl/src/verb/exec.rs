//! `chaos exec`

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use anyhow::bail;
use chaos_common::spec::Untargeted;

use crate::{
    app::App,
    error::Usage,
    exec::{self, Job, Summary},
    fault::{FaultCommand, of_flag},
    file,
    life::LifeArgs,
    sweep::{self, Sweep, SweepFlags},
};

/// Run a command with faults on it and on nothing else; needs no daemon
///
/// The command gets a cgroup of its own, and when it ends nothing stays. Its exit code is that of
/// this program, and signals sent to this program go on to it: all but KILL, STOP, CHLD, and ILL,
/// SEGV, BUS and FPE.
///
///   chaos exec network loss --percent 10 -- curl https://example.org
///   chaos exec -f faults.yaml -- ./run-tests
///   chaos exec syscall error --call write --errno ENOSPC --sweep -- cp a b
#[derive(Debug, clap::Args)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true, verbatim_doc_comment)]
pub(crate) struct Args {
    /// Faults from a file of YAML documents without targets, `-` being standard input
    #[arg(short, long, value_name = "FILE", required = true)]
    file: Option<PathBuf>,

    /// Say on standard error, when the command has ended, what the faults did
    #[arg(long)]
    summary: bool,

    #[command(flatten)]
    sweep: SweepFlags,

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

    #[command(flatten)]
    sweep: SweepFlags,

    /// The command and its arguments, after `--`
    #[arg(last = true, value_name = "COMMAND", required = true, help_heading = "Command")]
    command: Vec<OsString>,
}

/// What to do with the command.
#[derive(Debug)]
enum Task {
    Run(Job),
    Sweep(Box<Sweep>),
}

/// Runs the command and gives its exit code, or sweeps it.
///
/// # Errors
/// When the file cannot be used or a fault not be made; the command has not run then.
pub(super) fn run(args: Args, app: &mut App) -> anyhow::Result<ExitCode> {
    match task(args)? {
        Task::Run(job) => exec::run(job),
        Task::Sweep(sweep) => sweep::run(*sweep, app),
    }
}

fn task(args: Args) -> anyhow::Result<Task> {
    match args {
        Args { file: None, fault: Some(_), sweep, .. } if sweep.is_given() => {
            bail!(Usage::of(
                "put --sweep and its flags behind the fault, as in syscall error --sweep"
            ))
        }
        Args { file: None, fault: Some(FaultCommand { fault, rest }), .. } => {
            let Rest { life, summary, sweep, command } = rest;
            let LifeArgs { duration, times, seed } = life;
            let fault = Untargeted { fault, duration, times, seed }.checked();
            let fault = fault.map_err(|invalid| Usage::of(of_flag(invalid)))?;
            of_one_or_all(vec![fault], command, summary, sweep)
        }
        Args { file: Some(path), fault: None, command, summary, sweep } => {
            let faults = file::documents(&path, &file::read(&path)?)?;
            of_one_or_all(faults, command, summary, sweep)
        }
        Args { file: Some(_), fault: Some(_), .. } | Args { file: None, fault: None, .. } => {
            bail!(Usage::of("give either a fault or --file"))
        }
    }
}

fn of_one_or_all(
    faults: Vec<Untargeted>,
    command: Vec<OsString>,
    is_summary: bool,
    sweep: SweepFlags,
) -> anyhow::Result<Task> {
    if !sweep.is_given() {
        let summary = if is_summary { Summary::Print } else { Summary::Omit };
        return Ok(Task::Run(Job { faults, command, summary }));
    }
    if is_summary {
        bail!(Usage::of("--summary: --sweep ends in a table of its own; leave it out"));
    }
    match <[Untargeted; 1]>::try_from(faults) {
        Ok([fault]) => Ok(Task::Sweep(Box::new(sweep.sweep(fault, command)?))),
        Err(faults) => bail!(Usage::of(format_args!(
            "--sweep is of one fault, and the file holds {}; keep one",
            faults.len()
        ))),
    }
}
