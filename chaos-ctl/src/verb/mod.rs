//! The verbs, one a file.

mod completions;
mod doctor;
mod exec;
mod get;
mod inject;
mod ls;
mod recover;
mod renew;
mod targets;
mod watch;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::{app::App, outcome::Outcome};

/// What to do.
#[derive(Debug, clap::Subcommand)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) enum Verb {
    Doctor(doctor::Args),
    Targets(targets::Args),
    Inject(Box<inject::Args>),
    Exec(Box<exec::Args>),
    Ls(ls::Args),
    Get(get::Args),
    Watch(watch::Args),
    Renew(renew::Args),
    Recover(recover::Args),
    Completions(completions::Args),
}

/// Does what was asked for.
///
/// # Errors
/// When it could not be done; what was done in part is an exit code.
pub(crate) fn run(verb: Verb, mut app: App) -> anyhow::Result<ExitCode> {
    let outcome = match verb {
        Verb::Exec(args) => return exec::run(*args, &mut app),
        Verb::Completions(args) => completions::run(args, &mut app),
        Verb::Doctor(args) => wait(doctor::run(args, &mut app)),
        Verb::Targets(args) => wait(targets::run(args, &mut app)),
        Verb::Inject(args) => wait(inject::run(*args, &mut app)),
        Verb::Ls(args) => wait(ls::run(args, &mut app)),
        Verb::Get(args) => wait(get::run(args, &mut app)),
        Verb::Watch(args) => wait(watch::run(args, &mut app)),
        Verb::Renew(args) => wait(renew::run(args, &mut app)),
        Verb::Recover(args) => wait(recover::run(args, &mut app)),
    };
    outcome.map(ExitCode::from)
}

fn wait(verb: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(verb)
}
