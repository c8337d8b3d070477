//! `cargo xtask build`: the project's programs as static binaries, which run in any container and any VM.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::Value;

use crate::setup::{self, Need};
use crate::sh;

/// Static binaries come from this target.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-musl";

/// Some optimization, because it runs in an emulator; no symbols, because it travels in an initramfs.
const TEST_PROFILE: &[&str] = &[
    "profile.vm.inherits='dev'",
    "profile.vm.opt-level=1",
    "profile.vm.debug=false",
    "profile.vm.incremental=true",
    "profile.vm.strip='symbols'",
];

/// How to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Quick to build, not slow to run, with failpoints.
    Test,
    /// As shipped.
    Release,
}

/// The verb's options.
#[derive(Args)]
pub(crate) struct Options {
    /// How to build.
    #[arg(long, value_enum, default_value = "release")]
    profile: Profile,
}

/// The static programs of one build.
#[derive(Clone, Debug)]
pub(crate) struct Binaries {
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// By name.
    programs: BTreeMap<String, PathBuf>,
}

impl Binaries {
    /// The program of this name.
    pub(crate) fn program(&self, name: &str) -> Result<&Path> {
        let path = self
            .programs
            .get(name)
            .with_context(|| format!("the build made no program `{name}`"))?;
        Ok(path)
    }

    /// All programs: name and path.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.programs.iter().map(|(name, path)| (name.as_str(), path.as_path()))
    }
}

/// Builds and prints where the programs are.
pub(crate) fn verb(options: &Options) -> Result<()> {
    for (_, path) in build(options.profile)?.all() {
        println!("{}", path.display());
    }
    Ok(())
}

/// Builds all static programs.
pub(crate) fn build(profile: Profile) -> Result<Binaries> {
    build_some(profile, &["--bins"])
}

/// Builds what is shipped, and what boots a VM: all but the tests, which take longest.
pub(crate) fn build_shipped(profile: Profile) -> Result<Binaries> {
    build_some(profile, &["--bin", "chaos-daemon", "--bin", "chaos", "--bin", "init"])
}

fn build_some(profile: Profile, which: &[&str]) -> Result<Binaries> {
    setup::ensure(&[Need::Build])?;
    sh::say("building the static programs");
    let mut cargo = sh::cargo();
    cargo.args(["build", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    cargo.args(["--package", "chaos-daemon", "--package", "chaos-ctl", "--package", "vm-tests"]);
    cargo.args(which);
    match profile {
        Profile::Release => {
            cargo.arg("--release");
        }
        Profile::Test => {
            cargo.args(["--profile", "vm"]);
            for setting in TEST_PROFILE {
                cargo.args(["--config", setting]);
            }
            cargo.args(["--features", "chaos-daemon/failpoints"]);
        }
    }
    // C code of dependencies needs no C library, so the host's compiler serves where there is no musl-gcc.
    if std::env::var_os("CC_x86_64_unknown_linux_musl").is_none() && sh::which("musl-gcc").is_none()
    {
        cargo.env("CC_x86_64_unknown_linux_musl", "cc");
    }
    let messages = sh::capture_text(&mut cargo)?;
    let target = metadata()?.get("target_directory").and_then(Value::as_str).map(PathBuf::from);
    Ok(Binaries {
        target: target.context("cargo names no target folder")?,
        programs: executables(&messages),
    })
}

/// Reads cargo's messages: program name to path.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let of = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let name = message.get("target")?.get("name")?.as_str()?.to_owned();
        let path = message.get("executable")?.as_str()?;
        Some((name, PathBuf::from(path)))
    };
    messages.lines().filter_map(of).collect()
}

fn metadata() -> Result<Value> {
    let metadata = sh::capture(sh::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    serde_json::from_slice(&metadata).context("cannot read cargo's metadata")
}
