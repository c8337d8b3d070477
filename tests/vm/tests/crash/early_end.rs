//! A daemon that is told to go while it starts.

use std::{
    os::unix::process::ExitStatusExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::Direction;
use nix::sys::signal::Signal;

use crate::harness::{Daemon, Loss, Probe as _, Settings, Stage, tests};

tests![sigterm_while_it_starts_leaves_nothing, sigterm_while_it_adopts_loses_sight_of_nothing];

/// How long a daemon takes until it serves.
fn start_time(stage: &Stage) -> Result<Duration> {
    let started = Instant::now();
    let daemon = stage.daemon()?;
    let time = started.elapsed();
    stage.finish(daemon)?;
    Ok(time)
}

/// How a daemon ended that was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// By itself.
    Well,
    /// By the signal, before it could do anything about signals.
    AtOnce,
}

/// Starts a daemon and tells it to go a moment later.
fn end_after(stage: &Stage, settings: Settings, moment: Duration) -> Result<Ended> {
    let daemon = Daemon::launch(&stage.scratch, settings)?;
    thread::sleep(moment);
    daemon.signal(Signal::SIGTERM)?;
    let status = daemon.wait_end()?;
    if status.success() {
        return Ok(Ended::Well);
    }
    ensure!(status.signal() == Some(Signal::SIGTERM as i32), "it ended with {status}");
    Ok(Ended::AtOnce)
}

/// Does something at so many moments, spread over the start of a daemon.
fn at_moments(
    stage: &Stage,
    moments: u32,
    mut work: impl FnMut(Duration) -> Result<()>,
) -> Result<()> {
    let whole = start_time(stage)?;
    for moment in 0..moments {
        let moment = whole * moment / moments;
        work(moment).with_context(|| format!("SIGTERM {moment:?} after the start"))?;
    }
    Ok(())
}

fn sigterm_while_it_starts_leaves_nothing() -> Result<()> {
    let stage = Stage::new()?;
    at_moments(&stage, 20, |moment| {
        // Before it can do anything about signals there is nothing to tidy up either.
        end_after(&stage, Settings::default(), moment)?;
        stage.clean()
    })?;
    let daemon = stage.daemon()?;
    daemon.client()?.inject(Loss::all().on(&stage.target))?;
    stage.victim_udp()?.none_arrive()?;
    stage.finish(daemon)
}

/// What an earlier daemon left is recovered, or left whole for the next one.
fn sigterm_while_it_adopts_loses_sight_of_nothing() -> Result<()> {
    let stage = Stage::new()?;
    let settings = || Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() };
    let victim = stage.victim_udp()?;
    at_moments(&stage, 8, |moment| {
        let earlier = stage.daemon_with(settings())?;
        let spec = Loss::all().direction(Direction::Both).on(&stage.target);
        earlier.client()?.inject(spec)?;
        earlier.kill()?;
        if end_after(&stage, settings(), moment)? == Ended::Well {
            stage.clean()?;
        } else {
            let next = stage.daemon_with(settings())?;
            match next.client()?.list()?[..] {
                [] => victim.all_arrive()?,
                [_] => victim.none_arrive()?,
                [..] => bail!("one fault became several: {:?}", next.client()?.list()?),
            }
            stage.finish(next)?;
        }
        victim.all_arrive()
    })
}
