//! What waits arrives, whatever ends the fault; but what waits in a daemon ends with it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, End};
use nix::sys::signal::Signal;

use super::{all_late, all_soon};
use crate::harness::{
    Agent, Family, Network, Place, Settings, Socket, Stage, delay, holds_in_memory, needs, net,
    poll, skip::skip, tests,
};

tests![
    what_waits_arrives_after_recovery,
    what_waits_in_the_kernel_arrives_after_the_daemon_is_killed,
    what_waits_arrives_after_its_process_has_ended,
    what_waits_arrives_after_its_cgroup_is_gone,
    what_waits_arrives_over_a_crash_after_recovery,
    a_restart_goes_on_with_the_fault,
    nothing_is_early_while_a_fault_is_adopted,
    a_daemon_that_stops_waits_for_what_is_held,
];

/// Longer than anything else here takes.
const LONG: Duration = Duration::from_secs(3);

/// A lease that a slow machine's restart does not outlast.
fn settings() -> Settings {
    Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() }
}

/// Sends twenty datagrams, and does something while they wait.
fn while_held(stage: &Stage, from: &Agent, event: impl FnOnce() -> Result<()>) -> Result<()> {
    let (sender, receiver): (Socket, Socket) =
        (from.udp(net::near(Family::V4))?, stage.far.udp(net::far(Family::V4))?);
    let sent = from.send(sender, receiver.local, 0, 20)?;
    ensure!(sent.failed.is_empty(), "{sent:?}");
    event()?;
    let arrivals = stage.far.arrivals(receiver, 20, LONG * 4)?;
    ensure!(arrivals.len() == 20, "not all arrived: {arrivals:?}");
    let least = LONG.as_micros() as i64;
    ensure!(arrivals.iter().all(|a| a.late_us >= least), "some did not wait: {arrivals:?}");
    Ok(())
}

fn what_waits_arrives_after_recovery() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let injection = client.inject(Network::from(delay(LONG)).on(&stage.target))?;
    while_held(&stage, &stage.victim, || {
        client.recover(&injection.id).map(drop).map_err(Into::into)
    })?;
    all_soon(&stage.victim_udp()?)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_waits_in_the_kernel_arrives_after_the_daemon_is_killed() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let is_lasting = !holds_in_memory(&client)?;
    client.inject(Network::from(delay(LONG)).on(&stage.target))?;
    if is_lasting {
        while_held(&stage, &stage.victim, || daemon.signal(Signal::SIGKILL))?;
    } else {
        let flow = stage.victim_udp()?;
        let sent = stage.victim.send(flow.sender(), flow.receiver().local, 1 << 32, 20)?;
        ensure!(sent.failed.is_empty(), "{sent:?}");
        daemon.signal(Signal::SIGKILL)?;
        let arrivals = stage.far.arrivals(flow.receiver(), 1, LONG + LONG)?;
        ensure!(arrivals.is_empty(), "what waited is not lost: {arrivals:?}");
    }
    // The next one finds the fault and its hop, and ends both.
    let daemon = stage.daemon()?;
    daemon.client()?.recover_all()?;
    all_soon(&stage.victim_udp()?)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_waits_arrives_after_its_process_has_ended() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let injection = client.inject(Network::from(delay(LONG)).on(&stage.target))?;
    let other = Agent::start(Place::default().cgroup(&stage.target)?.netns(&stage.net.near)?)?;
    while_held(&stage, &other, || other.kill())?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_waits_arrives_after_its_cgroup_is_gone() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let doomed = stage.base.child("doomed")?;
    let last = Agent::start(Place::default().cgroup(&doomed)?.netns(&stage.net.near)?)?;
    let injection = client.inject(Network::from(delay(LONG)).on(&doomed))?;
    while_held(&stage, &last, || {
        last.kill()?;
        doomed.remove()
    })?;
    poll::until_ok("the fault to end with its target", LONG, || {
        let ended = client.get(&injection.id)?;
        ensure!(ended.end() == End::TargetGone, "{ended:?}");
        Ok(())
    })?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The next daemon finds a hop that no fault speaks for, with packets in it.
fn what_waits_arrives_over_a_crash_after_recovery() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    if holds_in_memory(&client)? {
        return skip("packets that wait in a daemon end with it");
    }
    let injection = client.inject(Network::from(delay(LONG)).on(&stage.target))?;
    let mut next = None;
    while_held(&stage, &stage.victim, || {
        client.recover(&injection.id)?;
        daemon.kill()?;
        next = Some(stage.daemon()?);
        Ok(())
    })?;
    let daemon = next.context("no daemon")?;
    all_soon(&stage.victim_udp()?)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_restart_goes_on_with_the_fault() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    let injection = client.inject(Network::from(delay(super::LATENCY)).on(&stage.target))?;
    let is_lasting = !holds_in_memory(&client)?;
    daemon.kill()?;
    if is_lasting { all_late(&flow) } else { all_soon(&flow) }?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    crate::harness::active(&client.get(&injection.id)?)?;
    all_late(&flow)?;
    client.recover(&injection.id)?;
    all_soon(&flow)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn nothing_is_early_while_a_fault_is_adopted() -> Result<()> {
    let stage = Stage::new()?;
    let mut daemon = stage.daemon_with(settings())?;
    needs(&daemon.client()?, "network delay")?;
    if holds_in_memory(&daemon.client()?)? {
        return skip("without its daemon such a fault is over");
    }
    let (near, far) = ((&stage.victim, net::near(Family::V4)), (&stage.far, net::far(Family::V4)));
    for (direction, from, to) in [(Direction::Out, near, far), (Direction::In, far, near)] {
        let (sender, receiver) = (from.0.udp(from.1)?, to.0.udp(to.1)?);
        let spec = Network::from(delay(super::LATENCY)).direction(direction).on(&stage.target);
        daemon.client()?.inject(spec)?;
        from.0.begin(sender, Some(receiver.local), 0)?;
        daemon.kill()?;
        daemon = stage.daemon_with(settings())?;
        let sent = from.0.cease(sender)?;
        let arrivals = to.0.arrivals(receiver, sent.ok as usize, LONG * 2)?;
        ensure!(arrivals.len() == sent.ok as usize, "{} of {}", arrivals.len(), sent.ok);
        let least = super::LATENCY.as_micros() as i64;
        let early = arrivals.iter().filter(|arrival| arrival.late_us < least).count();
        ensure!(early == 0, "{direction:?}: {early} of {} came early", arrivals.len());
        daemon.client()?.recover_all()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_stops_waits_for_what_is_held() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    client.inject(Network::from(delay(LONG)).on(&stage.target))?;
    while_held(&stage, &stage.victim, || daemon.stop())?;
    stage.clean()
}
