//! The toolchain of `rust-toolchain.toml`, and programs that cargo installs.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::sh;

#[derive(Deserialize)]
struct File {
    toolchain: Toolchain,
}

#[derive(Deserialize)]
struct Toolchain {
    channel: String,
    components: Vec<String>,
    targets: Vec<String>,
}

/// Installs the toolchain with its components and targets unless rustup has all of them.
pub(crate) fn toolchain() -> Result<()> {
    let path = sh::workspace().join("rust-toolchain.toml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let File { toolchain } =
        toml::from_str(&text).with_context(|| format!("cannot read {}", path.display()))?;
    let missing = match installed(&toolchain.channel) {
        Ok(have) => {
            let have = |wanted: &&String| {
                have.lines().any(|line| line == *wanted || is_for_host(line, wanted))
            };
            let std = |target: &String| format!("rust-std-{target}");
            let wanted =
                toolchain.components.iter().cloned().chain(toolchain.targets.iter().map(std));
            wanted.filter(|wanted| !have(&wanted)).collect()
        }
        Err(_) => vec![toolchain.channel.clone()],
    };
    if missing.is_empty() {
        return Ok(());
    }
    sh::say(format_args!(
        "installing the toolchain {} ({})",
        toolchain.channel,
        missing.join(", ")
    ));
    let mut install = Command::new("rustup");
    install.args([
        "toolchain",
        "install",
        &toolchain.channel,
        "--profile",
        "minimal",
        "--no-self-update",
    ]);
    for component in &toolchain.components {
        install.args(["--component", component]);
    }
    for target in &toolchain.targets {
        install.args(["--target", target]);
    }
    sh::run(&mut install).context("the project is built with rustup's toolchains: install rustup")
}

/// Installs a program with cargo unless it is there (in this version, if one is named).
pub(crate) fn program(name: &str, version: Option<&str>) -> Result<()> {
    if sh::which(name).is_some_and(|path| is_version(&path, version)) {
        return Ok(());
    }
    let version: Vec<&str> =
        version.into_iter().flat_map(|version| ["--version", version]).collect();
    sh::say(format_args!(
        "installing {name} {} with cargo; this takes some minutes",
        version.join(" ")
    ));
    let mut install = sh::cargo();
    install.args(["install", "--locked", "--force", name]).args(version);
    // A tool that runs for seconds need not be optimized for minutes.
    install.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
    sh::run(&mut install)
}

fn installed(channel: &str) -> Result<String> {
    let mut list = Command::new("rustup");
    list.args(["component", "list", "--installed", "--toolchain", channel]);
    let output = list.output().context("cannot start rustup")?;
    anyhow::ensure!(output.status.success(), "the toolchain {channel} is not installed");
    Ok(String::from_utf8(output.stdout)?)
}

/// `clippy` is listed as `clippy-x86_64-unknown-linux-gnu`.
fn is_for_host(line: &str, component: &str) -> bool {
    line.strip_prefix(component)
        .is_some_and(|rest| rest.starts_with(&format!("-{}-", std::env::consts::ARCH)))
}

fn is_version(path: &std::path::Path, version: Option<&str>) -> bool {
    let Some(version) = version else { return true };
    let output = Command::new(path).arg("--version").output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).split_whitespace().any(|word| word == version)
    })
}
