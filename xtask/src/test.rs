//! `cargo xtask test`: unit tests, then the behaviour tests under this machine's kernel and under each kernel of the matrix.

mod guests;
mod libtest;
mod local;
mod report;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use report::{Report, Run};

use crate::artifacts::{self, Binaries, Profile};
use crate::setup::{self, Need};
use crate::vm::Prepared;
use crate::vm::matrix;

/// What to run. By default everything; `--host` and `--kernel` choose the behaviour tests of those places only.
#[derive(Args)]
pub(crate) struct Options {
    /// Runs under the kernels whose name begins so: `6.12`, `7`. May be given several times.
    #[arg(long, value_name = "PREFIX")]
    kernel: Vec<String>,
    /// Runs under this machine's kernel.
    #[arg(long)]
    host: bool,
    /// Leaves out the VMs.
    #[arg(long, conflicts_with = "kernel")]
    no_vm: bool,
    /// Leaves out the unit tests.
    #[arg(long)]
    no_unit: bool,
    /// Tests the programs as they are shipped, without failpoints.
    #[arg(long)]
    release: bool,
    /// Goes on without a kernel that cannot be fetched: it counts as skipped.
    #[arg(long)]
    allow_missing_kernel: bool,
    /// How many VMs run at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// How many CPUs each VM has; they take turns. With more than one, 6.1 and older kernels do not boot in the emulator.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: u32,
    /// Runs only the tests whose name contains this.
    filter: Option<String>,
}

impl Options {
    fn chosen(&self) -> bool {
        self.host || !self.kernel.is_empty()
    }

    fn wants_unit(&self) -> bool {
        !self.no_unit && !self.chosen()
    }

    fn wants_host(&self) -> bool {
        self.host || !self.chosen()
    }

    fn wants_vms(&self) -> bool {
        !self.no_vm && (!self.kernel.is_empty() || !self.host)
    }
}

/// Runs what is wanted and prints the report; its closing line is the last output.
pub(crate) fn verb(options: &Options) -> Result<ExitCode> {
    setup::ensure(&[Need::Build])?;
    let mut runs = Vec::new();
    if options.wants_unit() {
        runs.push(local::unit(options.filter.as_deref()));
    }
    let profile = if options.release { Profile::Release } else { Profile::Test };
    match artifacts::build(profile) {
        Ok(binaries) => behaviour(options, &binaries, &mut runs)?,
        Err(error) => runs.push(Run::broken("build", format_args!("{error:#}"))),
    }
    let report = Report::of(runs, options.filter.as_deref());
    let good = report.is_good();
    print!("{report}");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn behaviour(options: &Options, binaries: &Binaries, runs: &mut Vec<Run>) -> Result<()> {
    if options.wants_host() {
        runs.push(local::host(binaries.program("vm-tests")?, options.filter.as_deref()));
    }
    if options.wants_vms() {
        setup::ensure(&[Need::Vm, Need::Packages])?;
        let (kernels, missing) = kernels(options)?;
        runs.extend(guests::all(&kernels, binaries, options)?);
        runs.extend(missing);
    }
    Ok(())
}

/// The kernels that can be booted, and a run for each that cannot.
fn kernels(options: &Options) -> Result<(Vec<Prepared>, Vec<Run>)> {
    let mut kernels = Vec::new();
    let mut missing = Vec::new();
    for kernel in matrix::select(&options.kernel)? {
        match kernel.prepare() {
            Ok(prepared) => kernels.push(prepared),
            // Our own takes a quarter of an hour to build, so it is tested where somebody has built it.
            Err(error) if options.allow_missing_kernel || kernel.name == matrix::OVERRIDE => {
                missing.push(Run::skipped(
                    &kernel.name,
                    format_args!("kernel not to be had: {error:#}"),
                ));
            }
            Err(error) => missing
                .push(Run::broken(&kernel.name, format_args!("kernel not to be had: {error:#}"))),
        }
    }
    Ok((kernels, missing))
}
