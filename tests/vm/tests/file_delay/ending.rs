//! Whoever waits goes on when the fault is over, however it ends.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use chaos_common::proto::v1::{End, State};
use nix::libc;

use super::{KIND, LATENCY, SOON, alone, late, served, soon, time};
use crate::harness::{
    Agent, Mounted, Place, Settings, Stage, active, file_delay, needs_aspect, openat, poll, tests,
};

tests![
    recovery_lets_everybody_go_on,
    the_end_lets_everybody_go_on,
    whoever_waits_can_be_killed,
    a_daemon_that_dies_lets_everybody_go_on,
    a_daemon_that_comes_back_goes_on,
    what_cannot_be_watched_ends_soon,
];

/// Longer than anybody waits for a test.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Opens a file in a process of the target that then waits for an hour, and does something meanwhile. How long it was
/// after that until the file was open.
pub(crate) fn while_waiting(
    stage: &Stage,
    path: &str,
    act: impl FnOnce() -> Result<()>,
) -> Result<Duration> {
    let waiting = Agent::start(Place::default().cgroup(&stage.target)?)?;
    let pid = waiting.pid();
    let deed = openat(path);
    thread::scope(|scope| {
        let opened = scope.spawn(|| time(&waiting, &deed).map(|_| Instant::now()));
        poll::until_ok("a process to wait", SOON, || {
            let place = fs::read_to_string(format!("/proc/{pid}/wchan"))?;
            ensure!(place.contains("fanotify") || is_asleep(pid)?, "it is at {place:?}");
            ensure!(!opened.is_finished(), "it did not wait");
            Ok(())
        })?;
        let acted = act();
        let begin = Instant::now();
        let opened = opened.join().map_err(|_| anyhow!("the thread panicked"))??;
        acted?;
        Ok(opened.saturating_duration_since(begin))
    })
}

/// Whether a process is inside of `openat`.
fn is_asleep(pid: u32) -> Result<bool> {
    let state = fs::read_to_string(format!("/proc/{pid}/syscall"))?;
    Ok(state.starts_with(&format!("{} ", libc::SYS_openat)))
}

fn recovery_lets_everybody_go_on() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let injection =
        client.inject(file_delay(&[&path], &["open"], HOUR, |_| {}).on(&stage.target))?;
    let after = while_waiting(&stage, &path, || Ok(client.recover(&injection.id).map(drop)?))?;
    ensure!(after < Duration::from_secs(2), "it went on after {after:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_end_lets_everybody_go_on() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let fault = file_delay(&[&path], &["open"], HOUR, |_| {}).lasting(Duration::from_secs(3));
    let injection = client.inject(fault.on(&stage.target))?;
    let after = while_waiting(&stage, &path, || Ok(()))?;
    ensure!(after < Duration::from_secs(8), "it went on after {after:?}");
    let found = client.get(&injection.id)?;
    ensure!(found.state() == State::Ended && found.end() == End::Expired, "{found:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn whoever_waits_can_be_killed() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let injection =
        client.inject(file_delay(&[&path], &["open"], HOUR, |_| {}).on(&stage.target))?;
    let waiting = Agent::start(Place::default().cgroup(&stage.target)?)?;
    thread::scope(|scope| {
        let asked = scope.spawn(|| waiting.deed(&openat(&path)));
        poll::until("a process to wait", SOON, || Ok(is_asleep(waiting.pid())?.then_some(())))?;
        waiting.kill()?;
        ensure!(asked.join().is_ok_and(|came| came.is_err()), "it went on");
        Ok(())
    })?;
    // What it left behind is in nobody's way.
    soon(&stage.bystander, &openat(&path))?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_dies_lets_everybody_go_on() -> Result<()> {
    let (stage, daemon, client, path) = alone(Settings::default())?;
    client.inject(file_delay(&[&path], &["open"], HOUR, |_| {}).on(&stage.target))?;
    let after = while_waiting(&stage, &path, || daemon.kill())?;
    ensure!(after < Duration::from_secs(3), "it went on after {after:?}");
    let daemon = stage.daemon()?;
    daemon.client()?.recover_all()?;
    soon(&stage.victim, &openat(&path))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_comes_back_goes_on() -> Result<()> {
    let settings = || Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() };
    let (stage, daemon, client, path) = alone(settings())?;
    let fault = file_delay(&[&path], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    late(&stage.victim, &openat(&path))?;
    daemon.kill()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    active(&client.get(&injection.id)?)?;
    late(&stage.victim, &openat(&path))?;
    soon(&stage.bystander, &openat(&path))?;
    client.recover(&injection.id)?;
    soon(&stage.victim, &openat(&path))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A target without processes may have any files. What they turn out to be shows when one comes.
fn what_cannot_be_watched_ends_soon() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "write")?;
    let elsewhere = Mounted::new("tmpfs", &stage.folder.path().join("elsewhere"), "")?;
    let path = elsewhere.path().join("file").to_string_lossy().into_owned();
    fs::write(&path, "text")?;
    let empty = stage.base.child("empty")?;
    let fault = file_delay(&[&path], &["write"], LATENCY, |_| {}).on(&empty);
    let injection = client.inject(fault)?;
    active(&injection)?;
    let agent = Agent::start(Place::default().cgroup(&empty)?)?;
    poll::until_ok("the end of what cannot be", SOON, || {
        let found = client.get(&injection.id)?;
        ensure!(found.state() == State::Ended && found.end() == End::Interrupted, "{found:?}");
        ensure!(found.message.contains("cannot all be watched"), "{found:?}");
        Ok(())
    })?;
    drop(agent);
    drop(empty);
    drop(elsewhere);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
