//! `cargo xtask check`: everything that needs no test run: format, lints, dependencies, generated files.

use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::{self, Need};
use crate::{proto, sh};

/// Runs all checks, even after one failed, and names those that did.
pub(crate) fn verb() -> Result<()> {
    type Check = fn() -> Result<()>;
    setup::ensure(&[Need::Build, Need::Deny])?;
    let checks: [(&str, Check); 5] = [
        ("format", || sh::run(sh::cargo().args(["fmt", "--all", "--check"]))),
        ("generated files", proto::check),
        ("dependencies", || {
            sh::run(sh::cargo().args(["deny", "check", "bans", "licenses", "sources"]))
        }),
        ("lints", || sh::run(&mut lints())),
        ("lints of the eBPF programs", || sh::run(&mut ebpf_lints())),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        sh::say(format_args!("checking {name}"));
        if let Err(error) = check() {
            sh::say(format_args!("{name}: {error:#}"));
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn lints() -> Command {
    let mut cargo = sh::cargo();
    cargo.args([
        "clippy",
        "--workspace",
        "--exclude",
        "chaos-ebpf",
        "--all-targets",
        "--all-features",
        "--",
        "--deny",
        "warnings",
    ]);
    cargo
}

/// The eBPF programs know only the bpf target, for which `core` is built on the spot.
fn ebpf_lints() -> Command {
    let mut cargo = sh::cargo();
    cargo.args([
        "clippy",
        "--package",
        "chaos-ebpf",
        "--all-features",
        "--target",
        "bpfel-unknown-none",
        "-Z",
        "build-std=core",
    ]);
    cargo.args(["--", "--deny", "warnings"]);
    cargo.env("RUSTC_BOOTSTRAP", "1");
    // As chaos-daemon's build script sets it: the layout of registers follows from it.
    let arch = format!("--cfg=bpf_target_arch=\"{}\"", std::env::consts::ARCH);
    cargo.env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS", arch);
    cargo
}
