//! How injections end without being asked, and what a daemon does that is told to go.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, End, State, watch_event::Event};

use crate::harness::{
    Agent, Family, Handover, Loss, Place, Probe as _, Settings, Stage, active, balanced, net, poll,
    reason, tests,
};

tests![
    a_target_that_is_removed_ends_its_faults,
    a_target_that_comes_back_is_another_one,
    sigterm_recovers_everything,
    a_handover_is_adopted,
    a_handover_without_injections_leaves_nothing,
    a_busy_daemon_stops,
];

fn a_target_that_is_removed_ends_its_faults() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    let doomed = stage.base.child("doomed")?;
    let victim = Agent::start(Place::default().cgroup(&doomed)?.netns(&stage.net.near)?)?;
    let spec = |direction| Loss::all().direction(direction).on(&doomed);
    for direction in [Direction::Out, Direction::In] {
        active(&client.inject(spec(direction))?)?;
    }
    let survivor = client.inject(Loss::all().on(&stage.target))?;
    let mut watch = watcher.watch("")?;
    drop(victim);
    doomed.remove()?;
    for _ in 0..2 {
        let ended = watch.find(
            "the end of a fault without a target",
            Duration::from_secs(10),
            |event| match event {
                Event::Changed(injection) => {
                    (injection.state() == State::Ended).then_some(injection)
                }
                Event::Firing(_) | Event::Missed(_) => None,
            },
        )?;
        ensure!(ended.end() == End::TargetGone && ended.cgroup == doomed.path(), "{ended:?}");
    }
    ensure!(daemon.journal()?.len() == 1 && client.list()?.len() == 1);
    stage.victim_udp()?.none_arrive()?;
    client.recover(&survivor.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A cgroup that is made again under the same path is not the one that somebody aimed at.
fn a_target_that_comes_back_is_another_one() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let doomed = stage.base.child("doomed")?;
    let injection = client.inject(Loss::all().on(&doomed))?;
    doomed.remove()?;
    let again = stage.base.child("doomed")?;
    let newcomer = Agent::start(Place::default().cgroup(&again)?.netns(&stage.net.near)?)?;
    let family = Family::V4;
    let ends = (net::near(family), net::far(family));
    let flow = stage.udp("newcomer", (&newcomer, ends.0), (&stage.far, ends.1))?;
    let ended = poll::until("the fault to end", Duration::from_secs(10), || {
        Ok(Some(client.get(&injection.id)?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::TargetGone, "{ended:?}");
    flow.all_arrive()?;
    drop(flow);
    drop(newcomer);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn sigterm_recovers_everything() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    for direction in [Direction::Out, Direction::Both] {
        client.inject(Loss::all().direction(direction).on(&stage.target))?;
    }
    flow.none_arrive()?;
    stage.finish(daemon)?;
    flow.all_arrive()
}

fn a_handover_is_adopted() -> Result<()> {
    let stage = Stage::new()?;
    let lease = Some(Duration::from_secs(20));
    let settings = || Settings { lease, handover: Handover::Yes, ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    let both = Direction::Both;
    let injection =
        client.inject_as("kept", Loss::all().direction(both).seed(5).on(&stage.target))?;
    victim.none_arrive()?;
    let before = balanced(&client.get("kept")?)?;
    daemon.stop()?;
    victim.none_arrive()?;
    bystander.all_arrive()?;

    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let adopted = client.get("kept")?;
    active(&adopted)?;
    ensure!(adopted.seed == injection.seed && adopted.spec == injection.spec, "{adopted:?}");
    ensure!(
        adopted.created_at == injection.created_at && adopted.cgroup_id == injection.cgroup_id,
        "{adopted:?}"
    );
    let moved = adopted.expires_at.context("no expiry")?.seconds
        - injection.expires_at.context("no expiry")?.seconds;
    ensure!(moved.abs() <= 1, "the deadline moved by {moved} s");
    victim.none_arrive()?;
    bystander.all_arrive()?;
    let after = balanced(&client.get("kept")?)?;
    ensure!(
        after.fired >= before.fired + 2 * u64::from(victim.usual()),
        "{before:?} became {after:?}"
    );
    client.recover("kept")?;
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_handover_without_injections_leaves_nothing() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(Settings { handover: Handover::Yes, ..Settings::default() })?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    client.recover(&injection.id)?;
    stage.finish(daemon)
}

/// Open streams and calls do not keep a daemon from stopping.
fn a_busy_daemon_stops() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    client.inject(Loss::all().on(&stage.target))?;
    let mut watch = watcher.watch("")?;
    ensure!(watch.next(Duration::from_secs(10))?.is_some());
    // Connected, and silent for ever.
    let _silent = std::os::unix::net::UnixStream::connect(daemon.socket())?;
    stage.finish(daemon)?;
    ensure!(reason(&client.list().err().context("a stopped daemon answers")?).is_empty());
    Ok(())
}
