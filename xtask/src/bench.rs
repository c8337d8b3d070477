//! `cargo xtask bench`: speed and size, on this machine's kernel.
//!
//! Here is what builds; `bench/` is the program that measures. That one links the daemon's library and
//! is optimized, so it is a program of its own, and the other verbs need neither. The network faults are measured in a
//! VM: see `bench_vm`.

// The program that measures is built with a feature that tests are not run with; its arithmetic is tested from here.
#[cfg(test)]
mod statistics;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::artifacts::{self, Binaries, Profile};
use crate::{bench_vm, cache, sh};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Only rows whose name begins with, or whose suite is called, one of these; `network` and `call` run in a VM. Default:
    /// all that run here.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Also writes the rows as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Also rewrites docs/benchmarks.md.
    #[arg(long)]
    pub(crate) write: bool,
    /// The kernel of the VM, by the beginning of its name [default: 6.12 for `network`, 7.3 for `call`].
    #[arg(long)]
    kernel: Option<String>,
    /// Rounds of each comparison; fewer are quicker and less sure.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
}

/// Suites that take another kernel than this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InVm {
    /// One with netem.
    Network,
    /// One that lets programs replace what system calls return.
    Call,
}

impl InVm {
    const ALL: [Self; 2] = [Self::Network, Self::Call];

    /// How the names of its suites begin.
    const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Call => "call",
        }
    }

    /// A kernel that will do.
    const fn kernel(self) -> &'static str {
        match self {
            Self::Network => "6.12",
            Self::Call => "7.3",
        }
    }

    /// Programs of this machine that the faults are held against, besides those that set networks up.
    pub(crate) const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Network => &[],
            Self::Call => &["strace"],
        }
    }
}

/// The page that is rewritten.
const PAGE: &str = "docs/benchmarks.md";
/// The plot that belongs to it.
const PLOT: &str = "docs/neighbour-cost.svg";

/// Builds everything that is measured, then measures it as root, here or in a VM.
pub(crate) fn verb(options: &Options) -> Result<()> {
    let place = place(&options.names)?;
    let binaries = artifacts::build_shipped(Profile::Release)?;
    sh::say("building the program that measures");
    let bench = bench_program(&binaries.target)?;
    match place {
        Some(place) => in_vm(place, options, &binaries, bench),
        None => here(options, &binaries, bench),
    }
}

/// In which VM what is named is measured, if in one.
fn place(names: &[String]) -> Result<Option<InVm>> {
    let of = |name: &String| InVm::ALL.into_iter().find(|place| name.starts_with(place.name()));
    let first = names.first().and_then(of);
    ensure!(
        names.iter().all(|name| of(name) == first),
        "what begins with `network`, what begins with `call` and the rest are measured apart: name one of them"
    );
    Ok(first)
}

fn here(options: &Options, binaries: &Binaries, bench: PathBuf) -> Result<()> {
    let empty = empty_object(&binaries.target)?;
    let mut command = as_root(bench)?;
    command.arg("run");
    command.arg("--daemon").arg(binaries.program("chaos-daemon")?);
    command.arg("--chaos").arg(binaries.program("chaos")?);
    command.arg("--empty").arg(empty);
    command.arg("--cache").arg(cache::folder("bench")?);
    command.arg("--rounds").arg(options.rounds.to_string());
    if let Some(file) = &options.json {
        command.arg("--json").arg(absolute(file)?);
    }
    if options.write {
        command.arg("--document").arg(sh::workspace().join(PAGE));
    }
    sh::run(command.args(&options.names))
}

/// Measures in the VM; showing and writing takes no root.
fn in_vm(place: InVm, options: &Options, binaries: &Binaries, bench: PathBuf) -> Result<()> {
    let kernel = options.kernel.as_deref().unwrap_or(place.kernel());
    let report = bench_vm::measure(place, kernel, &options.names, binaries, &bench)?;
    let file = tempfile::NamedTempFile::new().context("cannot keep the report")?;
    std::fs::write(file.path(), report).context("cannot keep the report")?;
    let mut command = Command::new(bench);
    command.arg("show").arg("--report").arg(file.path());
    if place == InVm::Call {
        command.arg("--calls");
    }
    if let Some(file) = &options.json {
        command.arg("--json").arg(absolute(file)?);
    }
    if options.write {
        command.arg("--document").arg(sh::workspace().join(PAGE));
    }
    if options.write && place == InVm::Network {
        command.arg("--plot").arg(sh::workspace().join(PLOT));
    }
    sh::run(&mut command)
}

fn absolute(file: &Path) -> Result<PathBuf> {
    std::path::absolute(file).context("cannot name the JSON file")
}

fn as_root(program: PathBuf) -> Result<Command> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Command::new(program));
    }
    ensure!(
        sh::which("sudo").is_some(),
        "loading eBPF programs takes root, and there is no sudo: run `cargo xtask bench` as root"
    );
    let mut sudo = Command::new("sudo");
    // The path finds go, tc and ip.
    sudo.arg("--preserve-env=PATH").arg(program);
    Ok(sudo)
}

/// The programs that do nothing, built as the daemon's build script builds its own.
fn empty_object(target: &Path) -> Result<PathBuf> {
    let folder = target.join("bench-ebpf");
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    let flags = [&arch, "-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"];
    let mut cargo = sh::cargo();
    cargo.args(["build", "--package", "chaos-ebpf", "--bin", "empty", "--release", "--quiet"]);
    cargo.args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"]);
    cargo.arg(&folder);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    sh::run(&mut cargo)?;
    Ok(folder.join("bpfel-unknown-none/release/empty"))
}

/// Built for the same target as the programs that it measures, so that most of it is built already.
fn bench_program(target: &Path) -> Result<PathBuf> {
    let mut cargo = sh::cargo();
    cargo.args(["build", "--package", "xtask", "--features", "bench", "--bin", "bench"]);
    cargo.args(["--release", "--quiet", "--target", artifacts::TARGET]);
    sh::run(&mut cargo)?;
    let program = target.join(artifacts::TARGET).join("release/bench");
    if !program.is_file() {
        bail!("the build made no {}", program.display());
    }
    Ok(program)
}
