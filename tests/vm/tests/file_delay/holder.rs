//! The process that holds files is not relied on.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{HOUR, LATENCY, SOON, alone, late, time, while_waiting};
use crate::harness::{Daemon, Settings, file_delay, openat, poll, tests};

tests![a_holder_that_is_stuck_is_ended_by_the_kernel, a_holder_that_is_killed_is_replaced,];

/// The process that holds files for a daemon.
fn holder(daemon: &Daemon) -> Result<u32> {
    let of_daemon = |pid: u32| -> Option<()> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        (parent.trim().parse() == Ok(daemon.pid())).then_some(())?;
        let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        words.starts_with(b"chaos-file-holder").then_some(())
    };
    let mut pids = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| of_daemon(*pid).is_some()).context("nobody holds files")
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    Ok(kill(Pid::from_raw(pid as i32), signal)?)
}

/// Nobody waits for ever because it does not answer, neither the target nor others who open the same file.
fn a_holder_that_is_stuck_is_ended_by_the_kernel() -> Result<()> {
    let (stage, daemon, client, path) = alone(Settings::default())?;
    let fault = file_delay(&[&path], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    late(&stage.victim, &openat(&path))?;
    let first = holder(&daemon)?;
    signal(first, Signal::SIGSTOP)?;
    let stuck = time(&stage.bystander, &openat(&path))?;
    let (least, most) = (Duration::from_millis(500), Duration::from_secs(8));
    ensure!(least < stuck && stuck < most, "a bystander waited for {stuck:?}");
    // The daemon makes a new one.
    poll::until_ok("a new one", SOON, || {
        ensure!(holder(&daemon)? != first, "it is the old one");
        late(&stage.victim, &openat(&path))
    })?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_holder_that_is_killed_is_replaced() -> Result<()> {
    let (stage, daemon, client, path) = alone(Settings::default())?;
    let fault = file_delay(&[&path], &["open"], HOUR, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    let first = holder(&daemon)?;
    let after = while_waiting(&stage, &path, || signal(first, Signal::SIGKILL))?;
    ensure!(after < Duration::from_secs(2), "it went on after {after:?}");
    let second = poll::until_ok("a new one", SOON, || {
        let now = holder(&daemon)?;
        ensure!(now != first, "it is the old one");
        Ok(now)
    })?;
    ensure!(Path::new(&format!("/proc/{second}")).exists(), "{second} is gone");
    client.recover(&injection.id)?;
    ensure!(holder(&daemon).is_err(), "somebody still holds files");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
