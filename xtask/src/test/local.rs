//! Test runs on this machine: the unit tests, and the behaviour tests under the running kernel.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::libtest;
use super::report::Run;
use crate::sh;

/// Unit, property and documentation tests of all crates that run on this machine.
pub(crate) fn unit(filter: Option<&str>) -> Run {
    let mut cargo = sh::cargo();
    cargo
        .args([
            "test",
            "--workspace",
            "--exclude",
            "chaos-ebpf",
            "--exclude",
            "vm-tests",
            "--no-fail-fast",
            "--",
        ])
        .args(filter);
    run("unit", &mut cargo)
}

/// The behaviour tests under the running kernel, as root.
pub(crate) fn host(tests: &Path, filter: Option<&str>) -> Run {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(tests)
    } else if sh::which("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg(tests);
        sudo
    } else {
        return Run::skipped(
            "host",
            "loading eBPF programs takes root, and there is no sudo: run `cargo xtask test --host` as root",
        );
    };
    run("host", command.args(filter))
}

fn run(name: &str, command: &mut Command) -> Run {
    let started = Instant::now();
    let line = sh::line(command);
    sh::say(format_args!("[{name}] {line}"));
    let (lines, status) = match stream(name, command) {
        Ok(ended) => ended,
        Err(error) => return Run::broken(name, format_args!("{error:#}")),
    };
    let results = libtest::parse(lines.iter().map(String::as_str));
    // Failing tests explain a bad status. Without any, or without a closing line, something else went wrong.
    let unexplained = !status.success() && results.failed == 0;
    let trouble = (unexplained || results.closed == 0)
        .then(|| format!("`{line}` ended with {status}, see its output above"));
    Run { name: name.to_owned(), results, trouble, elapsed: started.elapsed() }
}

/// Shows the output as it comes, and returns it.
fn stream(name: &str, command: &mut Command) -> Result<(Vec<String>, ExitStatus)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child =
        command.spawn().with_context(|| format!("cannot start `{}`", sh::line(command)))?;
    let stdout = child.stdout.take().context("a child was started without a pipe")?;
    let mut lines = Vec::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line =
            line.with_context(|| format!("cannot read the output of `{}`", sh::line(command)))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        println!("[{name}] {line}");
        lines.push(line);
    }
    let status =
        child.wait().with_context(|| format!("cannot wait for `{}`", sh::line(command)))?;
    Ok((lines, status))
}
