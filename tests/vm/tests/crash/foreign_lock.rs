//! Anybody in a network namespace may lock its file for good. That holds up neither a fault nor its end.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, Spec};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use super::{
    adoption::both_ways,
    kill_switch::{pull, without_socket},
};
use crate::harness::{Agent, Loss, Place, Probe as _, Settings, Stage, active, tests};

tests![a_daemon_does_not_wait_for_it, the_kill_switch_does_not_wait_for_it];

const SOON: Duration = Duration::from_secs(5);

/// Somebody without any privilege, who holds the lock as long as the value lives.
fn lock(stage: &Stage) -> Result<Agent> {
    let place = Place::default().cgroup(&stage.target)?.netns(&stage.net.near)?.user(65534, 65534);
    let somebody = Agent::start(place)?;
    somebody.lock_netns()?;
    let refused = Flock::lock(File::open(stage.net.near.path())?, FlockArg::LockExclusiveNonblock);
    ensure!(matches!(refused, Err((_, Errno::EWOULDBLOCK))), "the namespace is not locked");
    Ok(somebody)
}

fn soon<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let done = work().with_context(|| what.to_owned())?;
    let took = started.elapsed();
    ensure!(took < SOON, "{what} took {took:?}");
    Ok(done)
}

fn spec(stage: &Stage) -> Spec {
    Loss::all().direction(Direction::Both).on(&stage.target)
}

/// Long enough for the fault to be there all along.
fn settings() -> Settings {
    Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() }
}

fn a_daemon_does_not_wait_for_it() -> Result<()> {
    let stage = Stage::new()?;
    let flows = both_ways(&stage, "victim", &stage.victim)?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let somebody = lock(&stage)?;
    let injection = soon("to inject", || Ok(client.inject(spec(&stage))?))?;
    active(&injection)?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    soon("to recover", || Ok(client.recover(&injection.id)?))?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    drop(somebody);
    stage.finish(daemon)
}

fn the_kill_switch_does_not_wait_for_it() -> Result<()> {
    let stage = Stage::new()?;
    let flows = both_ways(&stage, "victim", &stage.victim)?;
    let daemon = stage.daemon_with(settings())?;
    active(&daemon.client()?.inject(spec(&stage))?)?;
    daemon.kill()?;
    let somebody = lock(&stage)?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    soon("`chaos recover --all`", || pull(&stage))?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    drop(somebody);
    without_socket(&stage)?;
    stage.clean()
}
