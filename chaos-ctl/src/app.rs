//! What every verb is handed.

use std::{fmt, path::PathBuf};

use crate::{
    client::{Client, ConnectError},
    output::Out,
};

/// The name by which a person started the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `chaos`
    Chaos,
    /// `kubectl chaos`, installed as `kubectl-chaos`
    Kubectl,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chaos => "chaos",
            Self::Kubectl => "kubectl chaos",
        })
    }
}

/// Where to write and whom to ask.
pub(crate) struct App {
    /// For hints that name a command.
    pub(crate) program: Program,
    /// The daemon's socket.
    pub(crate) socket: PathBuf,
    /// Standard output.
    pub(crate) out: Out,
    /// The whole command line as clap sees it, from which completions are made.
    pub(crate) command: fn(Program) -> clap::Command,
}

impl App {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// When nobody answers there.
    pub(crate) async fn connect(&self) -> Result<Client, ConnectError> {
        Client::connect(&self.socket).await
    }
}
