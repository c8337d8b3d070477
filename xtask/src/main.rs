//! Everything around the code: set-up, builds, tests under real kernels, checks. One verb per file.
#![forbid(unsafe_code)]

mod artifacts;
mod bench;
mod bench_vm;
mod cache;
mod check;
mod compat;
mod demo;
mod kernel;
mod proto;
mod setup;
mod sh;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// The project's own tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Installs the tools that building and testing take.
    Setup(setup::Options),
    /// Measures speed and size on this machine.
    Bench(bench::Options),
    /// Builds the static binaries.
    Build(artifacts::Options),
    /// Asks each test kernel which faults it can do, and by which mechanism.
    Compat(compat::Options),
    /// Checks format, lints, dependencies and generated files.
    Check,
    /// Shows one fault on real traffic.
    Demo(demo::Options),
    /// Builds the test kernel that has bpf_override_return.
    Kernel(kernel::Options),
    /// Generates the wire code.
    Proto(proto::Options),
    /// Runs the tests, on this machine and under the test kernels.
    Test(test::Options),
    /// Runs a command under a test kernel.
    Vm(vm::Options),
}

fn main() -> ExitCode {
    let done = |result: Result<()>| result.map(|()| ExitCode::SUCCESS);
    let result = match Cli::parse().verb {
        Verb::Setup(options) => done(setup::run(&options)),
        Verb::Bench(options) => done(bench::verb(&options)),
        Verb::Build(options) => done(artifacts::verb(&options)),
        Verb::Compat(options) => done(compat::verb(&options)),
        Verb::Check => done(check::verb()),
        Verb::Demo(options) => demo::verb(&options),
        Verb::Kernel(options) => done(kernel::verb(&options)),
        Verb::Proto(options) => done(proto::verb(&options)),
        Verb::Test(options) => test::verb(&options),
        Verb::Vm(options) => done(vm::verb(&options)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
