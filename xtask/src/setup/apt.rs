//! Tools that come from the distribution.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// A tool: how we see that it is there, and the package that brings it.
#[derive(Clone, Copy)]
pub(crate) struct Tool {
    present: Present,
    package: &'static str,
}

#[derive(Clone, Copy)]
enum Present {
    Program(&'static str),
    File(&'static str),
}

const fn program(name: &'static str, package: &'static str) -> Tool {
    Tool { present: Present::Program(name), package }
}

const fn header(path: &'static str, package: &'static str) -> Tool {
    Tool { present: Present::File(path), package }
}

pub(crate) const VM: &[Tool] = &[program("qemu-system-x86_64", "qemu-system-x86")];

pub(crate) const PACKAGES: &[Tool] = &[
    program("dpkg-deb", "dpkg"),
    program("mkfs.ext4", "e2fsprogs"),
    program("xz", "xz-utils"),
    program("zstd", "zstd"),
];

pub(crate) const KERNEL: &[Tool] = &[
    program("dpkg-deb", "dpkg"),
    program("tar", "tar"),
    program("xz", "xz-utils"),
    program("make", "make"),
    program("gcc", "gcc"),
    program("flex", "flex"),
    program("bison", "bison"),
    program("bc", "bc"),
    program("cpio", "cpio"),
    program("lz4", "lz4"),
    program("pahole", "pahole"),
    header("/usr/include/gelf.h", "libelf-dev"),
    header("/usr/include/openssl/ssl.h", "libssl-dev"),
];

/// Installs the packages of those tools that are missing.
pub(crate) fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&str> =
        tools.iter().filter(|tool| !is_there(tool)).map(|tool| tool.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    if sh::which("apt-get").is_none() {
        bail!(
            "missing tools: this system has no apt-get; install what Debian calls {packages} with its own package manager"
        );
    }
    sh::say(format_args!("installing {packages} from the distribution"));
    let by_hand = || format!("install them by hand: sudo apt-get install {packages}");
    sh::run(&mut as_root(&["update", "--quiet"])?).with_context(by_hand)?;
    let mut install = as_root(&["install", "--yes", "--quiet", "--no-install-recommends"])?;
    sh::run(install.args(&missing)).with_context(by_hand)
}

fn is_there(tool: &Tool) -> bool {
    match tool.present {
        Present::Program(name) => sh::which(name).is_some(),
        Present::File(path) => std::path::Path::new(path).exists(),
    }
}

fn as_root(arguments: &[&str]) -> Result<Command> {
    let settings = ["-o", "DPkg::Lock::Timeout=300"];
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    } else if sh::which("sudo").is_some() {
        let mut command = Command::new("sudo");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    } else {
        bail!(
            "installing packages takes root, and this system has no sudo: run the command as root"
        );
    };
    command.args(settings).args(arguments);
    Ok(command)
}
