//! `chaos completions`

use crate::{
    app::{App, Program},
    outcome::Outcome,
};

/// Write the completion script of a shell
///
/// For bash: chaos completions bash > /etc/bash_completion.d/chaos
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: clap_complete::Shell,
}

/// Writes the script.
///
/// # Errors
/// When nobody reads it.
pub(super) fn run(args: Args, app: &mut App) -> anyhow::Result<Outcome> {
    let name = match app.program {
        Program::Chaos => "chaos",
        Program::Kubectl => "kubectl-chaos",
    };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut (app.command)(app.program), name, &mut script);
    app.out.raw(&script)?;
    app.out.flush()?;
    Ok(Outcome::Done)
}
