//! `cargo xtask setup`: checks for the tools the other verbs use, and installs what is missing.

mod apt;
mod rust;

use anyhow::Result;
use clap::Args;

use crate::sh::say;

/// A group of tools that some verb needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Need {
    /// The toolchain of `rust-toolchain.toml` with its components and targets, and bpf-linker.
    Build,
    /// cargo-deny.
    Deny,
    /// The emulator that boots the test kernels.
    Vm,
    /// Tools that fetch and unpack kernels from the distribution's packages.
    Packages,
    /// What compiling a Linux kernel takes.
    Kernel,
}

/// What to set up.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these groups; default: everything but `kernel`, which `cargo xtask kernel` installs by itself.
    #[arg(value_enum)]
    needs: Vec<Need>,
}

/// Installs what is missing of the wanted groups.
pub(crate) fn run(options: &Options) -> Result<()> {
    let default = [Need::Build, Need::Deny, Need::Vm, Need::Packages];
    let needs = if options.needs.is_empty() { &default[..] } else { &options.needs };
    ensure(needs)?;
    say("everything needed is installed");
    Ok(())
}

/// Makes sure that the tools of these groups are there. Costs milliseconds when they are.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let mut debian = Vec::new();
    for need in needs {
        match need {
            Need::Build => {
                rust::toolchain()?;
                rust::program("bpf-linker", Some("0.10.4"))?;
            }
            Need::Deny => rust::program("cargo-deny", None)?,
            Need::Vm => debian.extend(apt::VM),
            Need::Packages => debian.extend(apt::PACKAGES),
            Need::Kernel => debian.extend(apt::KERNEL),
        }
    }
    apt::ensure(&debian)
}
