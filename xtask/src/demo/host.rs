//! The demo on this machine, as root.

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::artifacts::Binaries;
use crate::sh;

/// `EX_UNAVAILABLE`: the program says so, with the reason, when this machine cannot do it.
const CANNOT_HERE: i32 = 69;

/// How it went.
pub(super) enum Ended {
    Shown(ExitCode),
    CannotHere(&'static str),
}

/// Runs it here, if that is possible.
pub(super) fn run(program: &Path, binaries: &Binaries, plain: bool) -> Result<Ended> {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(program)
    } else if sh::which("sudo").is_none() {
        return Ok(Ended::CannotHere("loading eBPF programs takes root, and there is no sudo"));
    } else {
        sh::say("loading eBPF programs takes root: asking sudo");
        if !Command::new("sudo").arg("true").status().is_ok_and(|status| status.success()) {
            return Ok(Ended::CannotHere("loading eBPF programs takes root, and sudo refuses"));
        }
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    };
    let programs =
        binaries.program("chaos-daemon")?.parent().context("a program lies in no folder")?;
    command.arg("--programs").arg(programs);
    if plain {
        command.arg("--plain");
    }
    let status =
        command.status().with_context(|| format!("cannot start `{}`", sh::line(&command)))?;
    Ok(match status.code() {
        Some(0) => Ended::Shown(ExitCode::SUCCESS),
        Some(CANNOT_HERE) => {
            Ended::CannotHere("this machine's kernel cannot do it, for the reason above")
        }
        Some(code) => Ended::Shown(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
        None => anyhow::bail!("`{}` ended with {status}", sh::line(&command)),
    })
}
