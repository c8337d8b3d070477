//! Somebody removes the daemon's pins, or what is in its tables, by hand: its faults are over, and it goes
//! on as if new.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{HashMap, Map, MapData};
use chaos_common::{
    abi::TargetRules,
    proto::v1::{Direction, End, State},
};

use super::adoption::both_ways;
use crate::harness::{
    Agent, Daemon, Datagrams, Loss, Place, Probe as _, Settings, Stage, active, balanced, poll,
    tests,
};

tests![
    pins_removed_under_live_faults_end_them,
    one_hooks_pin_removed_ends_the_faults,
    a_fault_that_begins_right_after_the_kill_switch_acts,
    a_target_removed_from_the_tables_ends_the_fault,
    pins_removed_from_an_idle_daemon_come_back,
];

/// Long enough for a restart; it is renewed, and pins are looked at, whenever a third of it is used.
const LEASE: Duration = Duration::from_secs(9);

/// Everything but pins is looked at each minute.
const LOOK: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings { lease: Some(LEASE), ..Settings::default() }
}

fn flows(stage: &Stage) -> Result<[Datagrams<'_>; 2]> {
    both_ways(stage, "victim", &stage.victim)
}

fn inject(stage: &Stage, daemon: &Daemon, id: &str, flows: &[Datagrams<'_>]) -> Result<()> {
    // It does not end by itself before anybody looks.
    let lasting = LOOK * 10;
    let spec = Loss::all().direction(Direction::Both).lasting(lasting).on(&stage.target);
    active(&daemon.client()?.inject_as(id, spec)?)?;
    flows.iter().try_for_each(|flow| flow.none_arrive())
}

/// As `rm -r` does.
fn remove_pins(stage: &Stage) -> Result<()> {
    fs::remove_dir_all(stage.scratch.bpffs().join("chaos")).context("cannot remove the pins")
}

/// A fault that begins now outlives the daemon: it is pinned again.
fn outlives_a_crash(stage: &Stage, daemon: Daemon, flows: &[Datagrams<'_>]) -> Result<()> {
    inject(stage, &daemon, "after", flows)?;
    daemon.kill()?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    active(&client.get("after")?)?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    balanced(&client.recover("after")?)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Removes something under a live fault; it must end in time, with a word about why.
fn removed(noticed: Duration, remove: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let (flows, bystander) = (flows(&stage)?, stage.bystander_udp()?);
    inject(&stage, &daemon, "before", &flows)?;
    remove(&stage)?;
    let ended = poll::until("the end of what lost its footing", noticed, || {
        Ok(Some(client.get("before")?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Interrupted && !ended.message.is_empty(), "{ended:?}");
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    bystander.all_arrive()?;
    ensure!(client.list()?.is_empty());
    stage.idle(&daemon)?;
    outlives_a_crash(&stage, daemon, &flows)
}

fn pins_removed_under_live_faults_end_them() -> Result<()> {
    removed(LEASE * 2, remove_pins)
}

/// That of what comes in, which every kernel has.
fn one_hooks_pin_removed_ends_the_faults() -> Result<()> {
    removed(LEASE * 2, |stage| {
        let name = format!("in-{}", stage.target.id()?);
        fs::remove_file(pin(stage, &name)?).context("cannot remove the pin")
    })
}

/// In the same network namespace, and before the daemon had reason to look at its pins.
fn a_fault_that_begins_right_after_the_kill_switch_acts() -> Result<()> {
    let stage = Stage::new()?;
    let newcomer = stage.base.child("newcomer")?;
    let process = Agent::start(Place::default().cgroup(&newcomer)?.netns(&stage.net.near)?)?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let (old, new) = (flows(&stage)?, both_ways(&stage, "newcomer", &process)?);
    inject(&stage, &daemon, "before", &old)?;
    new.iter().try_for_each(|flow| flow.all_arrive())?;
    remove_pins(&stage)?;
    let spec = Loss::all().direction(Direction::Both).lasting(LOOK * 10).on(&newcomer);
    active(&client.inject_as("right-after", spec)?)?;
    new.iter().try_for_each(|flow| flow.none_arrive())?;

    let ended = poll::until("the end of what lost its footing", LEASE, || {
        Ok(Some(client.get("before")?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Interrupted && !ended.message.is_empty(), "{ended:?}");
    old.iter().try_for_each(|flow| flow.all_arrive())?;
    // Whoever looks at the pins now and then finds those of the new one.
    poll::all_along(LEASE, || {
        active(&client.get("right-after")?)?;
        new.iter().try_for_each(|flow| flow.none_arrive())
    })?;
    ensure!(balanced(&client.recover("right-after")?)?.past_lease == 0);
    new.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    outlives_a_crash(&stage, daemon, &old)
}

/// As `bpftool map delete` does.
fn a_target_removed_from_the_tables_ends_the_fault() -> Result<()> {
    removed(LOOK + LEASE, |stage| {
        let table = Map::HashMap(MapData::from_pin(pin(stage, "map-targets")?)?);
        let mut targets = HashMap::<_, u64, TargetRules>::try_from(table)?;
        targets.remove(&stage.target.id()?).context("cannot remove the target")
    })
}

fn pin(stage: &Stage, name: &str) -> Result<PathBuf> {
    let builds = fs::read_dir(stage.scratch.bpffs().join("chaos"))?.flatten();
    let mut pins = builds.map(|build| build.path().join(name));
    pins.find(|pin| pin.exists()).with_context(|| format!("there is no pin {name}"))
}

fn pins_removed_from_an_idle_daemon_come_back() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings())?;
    let flows = flows(&stage)?;
    remove_pins(&stage)?;
    outlives_a_crash(&stage, daemon, &flows)
}
