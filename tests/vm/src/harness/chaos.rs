//! The `chaos` command.

use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Place, binary, exit_code};

/// No command of these tests takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Exit code, or 128 + signal.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A `chaos` command in a place. It talks to no daemon unless told to.
pub(crate) fn chaos<S: AsRef<OsStr>>(
    place: Place,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Command> {
    let mut command = Command::new(binary("chaos")?);
    command.args(arguments).env_remove("CHAOS_SOCKET");
    place.apply(&mut command);
    Ok(command)
}

/// A `chaos` command that talks to a daemon.
pub(crate) fn chaos_to<S: AsRef<OsStr>>(
    socket: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Result<Command> {
    let mut command = chaos(Place::default(), arguments)?;
    command.env("CHAOS_SOCKET", socket);
    Ok(command)
}

/// Runs a command to its end, with this input.
pub(crate) fn run(command: Command, input: &str) -> Result<Output> {
    finish(start(command)?, input)
}

/// Starts a command with pipes.
pub(crate) fn start(mut command: Command) -> Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().with_context(|| format!("cannot start {command:?}"))
}

/// Gives a command its input and waits for its end.
pub(crate) fn finish(mut child: Child, input: &str) -> Result<Output> {
    if let Some(mut pipe) = child.stdin.take() {
        // A command that refuses does not read.
        let _ = pipe.write_all(input.as_bytes());
    }
    let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let err = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let code = exit_code(&mut child, PATIENCE);
    if code.is_err() {
        // Fails only when it has ended after all.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    let code = code.with_context(|| format!("it said {out:?} and {err:?}"))?;
    Ok(Output { code, out, err })
}
