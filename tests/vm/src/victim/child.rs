//! Commands for `chaos exec` to run: test VMs have no other programs.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{SigSet, Signal, raise};

use crate::harness::{cgroup_mount, own_binary};

/// Runs one.
///
/// # Errors
/// When it is not known, or cannot do what it should.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["exit", code] => Ok(ExitCode::from(code.parse::<u8>()?)),
        ["die", signal] => {
            raise(signal.parse::<Signal>()?)?;
            bail!("{signal} did not kill")
        }
        // Says the name of the first signal it gets, and ends with 42.
        ["signal"] => {
            let signals = SigSet::from_iter([
                Signal::SIGTERM,
                Signal::SIGINT,
                Signal::SIGHUP,
                Signal::SIGUSR1,
            ]);
            signals.thread_block()?;
            say("ready")?;
            let signal = signals.wait()?;
            say(signal.as_str())?;
            Ok(ExitCode::from(42))
        }
        // Copies its input to its output, and its length to its errors.
        ["copy"] => {
            let mut input = Vec::new();
            std::io::stdin().read_to_end(&mut input)?;
            std::io::stdout().write_all(&input)?;
            eprint!("{}", input.len());
            Ok(ExitCode::SUCCESS)
        }
        ["sleep", seconds] => {
            say("ready")?;
            std::thread::sleep(Duration::from_secs(
                seconds.parse().context("no number of seconds")?,
            ));
            Ok(ExitCode::SUCCESS)
        }
        // Has a child answer, which runs a program of its own.
        ["parent"] => {
            let status = Command::new(own_binary()?).arg("victim").status()?;
            ensure!(status.success(), "the child ended with {status}");
            Ok(ExitCode::SUCCESS)
        }
        // Makes cgroups below its own and leaves a process in one, whose id it says.
        ["nest"] => {
            let own = cgroup_mount()?.join(super::cgroup()?.trim_start_matches('/'));
            let inner = own.join("outer/inner");
            for dir in [&inner, &own.join("outer/empty")] {
                fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
            }
            let mut left = Command::new(own_binary()?);
            left.args(["child", "sleep", "600"]);
            left.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let pid = left.spawn()?.id().to_string();
            fs::write(inner.join("cgroup.procs"), &pid)?;
            say(&pid)?;
            Ok(ExitCode::SUCCESS)
        }
        ["swept", ref words @ ..] => super::swept::run(words),
        ["resolve", root, name] => super::resolve::run(Path::new(root), name),
        ["grpc", "serve", at] => super::grpc::serve(at.parse()?).map(|()| ExitCode::SUCCESS),
        ["grpc", "watch", at, count] => {
            say(&super::grpc::watch(at.parse()?, count.parse()?)?)?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("there is no such command: {words:?}"),
    }
}

pub(super) fn say(word: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}")?;
    Ok(out.flush()?)
}
