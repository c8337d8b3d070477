//! `cargo xtask demo`: one fault on real traffic, from injection to the last trace of it, with no set-up before. On
//! this machine's kernel if that can do it, else in a VM.

mod children;
mod host;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use children::Interrupt;

use crate::artifacts::{self, Binaries, Profile, TARGET};
use crate::setup::{self, Need};
use crate::sh;
use crate::vm::{self, Echo, Guest, GuestFile, Outcome, matrix};

/// The program that shows it, with the real daemon and the real command.
const PROGRAM: &str = "chaos-demo";
/// As shells say that SIGINT ended a command.
const INTERRUPTED: u8 = 130;
/// An emulated processor serves fewer requests.
const VM_RATE: &str = "40";

/// Where and how to show it.
#[derive(Args)]
pub(crate) struct Options {
    /// Boots a VM, also if this machine's kernel could do it.
    #[arg(long, value_name = "KERNEL", num_args = 0..=1, default_missing_value = DEFAULT_KERNEL)]
    vm: Option<String>,
    /// Writes one line a second instead of a live view.
    #[arg(long)]
    plain: bool,
}

/// For an emulated terminal.
const SHOW_CURSOR: &str = "\x1b[?25h";
const DEFAULT_KERNEL: &str = "6.12";

/// Builds and shows.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::forward()?;
    let result = show(options);
    if interrupt.came() {
        sh::say("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    result
}

fn show(options: &Options) -> Result<ExitCode> {
    let binaries = artifacts::build(Profile::Test)?;
    let program = build_program(&binaries)?;
    let kernel = match &options.vm {
        Some(kernel) => kernel,
        None => match host::run(&program, &binaries, options.plain)? {
            host::Ended::Shown(code) => return Ok(code),
            host::Ended::CannotHere(reason) => {
                sh::say(format_args!("{reason}; booting a VM instead, which takes longer"));
                DEFAULT_KERNEL
            }
        },
    };
    in_vm(kernel, &binaries, program, options.plain)
}

/// The demo's own program; it is small and no part of what is tested or shipped.
fn build_program(binaries: &Binaries) -> Result<PathBuf> {
    sh::say("building the demo");
    let mut cargo = sh::cargo();
    cargo.args(["build", "--release", "--quiet", "--target", TARGET, "--package", PROGRAM]);
    sh::run(&mut cargo)?;
    Ok(binaries.target.join(TARGET).join("release").join(PROGRAM))
}

fn in_vm(kernel: &str, binaries: &Binaries, program: PathBuf, plain: bool) -> Result<ExitCode> {
    setup::ensure(&[Need::Vm, Need::Packages])?;
    let kernel = matrix::select(&[kernel.to_owned()])?;
    let kernel = kernel.first().context("no kernel selected")?.prepare()?;
    sh::say(format_args!("booting Linux {} in QEMU", kernel.release));
    let mut guest = Guest::new(&["/bin/chaos-demo", "--rate", VM_RATE], Echo::Raw);
    guest.timeout = Duration::from_secs(5 * 60);
    guest.files.push(GuestFile { at: format!("/bin/{PROGRAM}"), from: program });
    // The guest's console cannot know what it is shown on.
    let is_terminal = std::io::stdout().is_terminal();
    if let Some((columns, rows)) = terminal_size::terminal_size().filter(|_| is_terminal && !plain)
    {
        guest.argv.extend(["--size".to_owned(), format!("{}x{}", columns.0, rows.0)]);
    } else {
        guest.argv.push("--plain".to_owned());
    }
    if !is_terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        guest.env.push(("NO_COLOR".to_owned(), "1".to_owned()));
    }
    let finished = vm::run(&kernel, binaries, &guest);
    if is_terminal {
        // A VM that was stopped could not do it.
        print!("{SHOW_CURSOR}");
    }
    let finished = finished?;
    for complaint in &finished.complaints {
        sh::say(format_args!("the kernel complained: {complaint}"));
    }
    match finished.outcome {
        Outcome::Exited(0) if finished.complaints.is_empty() => Ok(ExitCode::SUCCESS),
        // The program has said what is wrong.
        Outcome::Exited(_) => Ok(ExitCode::FAILURE),
        outcome @ (Outcome::Panicked | Outcome::TimedOut(_) | Outcome::Broken(_)) => {
            anyhow::bail!(
                "Linux {}: {outcome} (console: {})",
                kernel.release,
                finished.log.display()
            )
        }
    }
}
