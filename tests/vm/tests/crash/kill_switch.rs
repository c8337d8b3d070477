//! `chaos recover --all` ends every fault: with a daemon, without one, and beside one that hangs.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Direction, End, State};
use nix::sys::signal::Signal;

use crate::harness::{
    Daemon, Datagrams, Family, Loss, Network, Output, Place, Probe as _, Settings, Stage, chaos,
    net, poll, run_command, tests,
};
use crate::victim::PortOptions;

tests![
    with_the_daemon,
    after_a_crash_and_a_restart,
    with_no_daemon,
    with_no_daemon_and_a_broken_journal,
    with_no_daemon_and_nothing_to_do,
    beside_a_daemon_that_hangs,
    a_daemon_that_hangs_keeps_its_ports,
    only_for_root,
];

/// The command, told of this test's own places.
fn switch(stage: &Stage, place: Place) -> Result<Command> {
    let mut command = chaos(place, ["recover", "--all"])?;
    command.arg("--state-dir").arg(stage.scratch.state()).arg("--bpffs").arg(stage.scratch.bpffs());
    command.env("CHAOS_SOCKET", stage.scratch.socket());
    Ok(command)
}

pub(super) fn pull(stage: &Stage) -> Result<Output> {
    let output = run_command(switch(stage, Place::default())?, "")?;
    ensure!(output.code == 0, "{output:?}");
    Ok(output)
}

/// A daemon with a long lease, two live faults and what they hit.
fn faults(stage: &Stage) -> Result<(Daemon, [Datagrams<'_>; 2])> {
    faults_with(stage, Duration::from_secs(120))
}

fn faults_with(stage: &Stage, lease: Duration) -> Result<(Daemon, [Datagrams<'_>; 2])> {
    let daemon = stage.daemon_with(Settings { lease: Some(lease), ..Settings::default() })?;
    let client = daemon.client()?;
    for (id, direction) in [("one", Direction::Out), ("two", Direction::In)] {
        client.inject_as(id, Loss::all().direction(direction).on(&stage.target))?;
    }
    let ends = ((&stage.far, net::far(Family::V4)), (&stage.victim, net::near(Family::V4)));
    let flows = [stage.victim_udp()?, stage.udp("victim, in", ends.0, ends.1)?];
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    Ok((daemon, flows))
}

fn with_the_daemon() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, flows) = faults(&stage)?;
    pull(&stage)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    ensure!(daemon.client()?.list()?.is_empty());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn after_a_crash_and_a_restart() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, flows) = faults(&stage)?;
    daemon.kill()?;
    let daemon = stage.daemon()?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    pull(&stage)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Removes what a killed daemon left in its socket's place.
pub(super) fn without_socket(stage: &Stage) -> Result<()> {
    if stage.scratch.socket().exists() {
        fs::remove_file(stage.scratch.socket())?;
    }
    Ok(())
}

fn with_no_daemon() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, flows) = faults(&stage)?;
    daemon.kill()?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    pull(&stage)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    without_socket(&stage)?;
    stage.clean()?;
    // Nothing is left for a daemon that comes later, and it works.
    let daemon = stage.daemon()?;
    ensure!(daemon.client()?.list()?.is_empty());
    stage.finish(daemon)
}

fn with_no_daemon_and_a_broken_journal() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, flows) = faults(&stage)?;
    let dir = stage.scratch.state().join("injections");
    let files = daemon.journal()?;
    daemon.kill()?;
    fs::write(dir.join(&files[0]), "\0\0")?;
    fs::write(dir.join(&files[1]), "{\"id\": 5}")?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    pull(&stage)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    without_socket(&stage)?;
    stage.clean()
}

fn with_no_daemon_and_nothing_to_do() -> Result<()> {
    let stage = Stage::new()?;
    pull(&stage)?;
    stage.clean()
}

fn beside_a_daemon_that_hangs() -> Result<()> {
    /// The switch waits twenty seconds for the daemon, and must come before it lapses.
    const LEASE: Duration = Duration::from_secs(60);
    let stage = Stage::new()?;
    let (daemon, flows) = faults_with(&stage, LEASE)?;
    let stopped = Instant::now();
    daemon.signal(Signal::SIGSTOP)?;
    pull(&stage)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    ensure!(stopped.elapsed() < LEASE * 2 / 3, "this machine is too slow for the test");
    daemon.signal(Signal::SIGCONT)?;
    // When it wakes it renews its lease, which must not bring its faults back.
    poll::all_along(LEASE / 3 + Duration::from_secs(1), || {
        flows.iter().try_for_each(|flow| flow.all_arrive())
    })?;
    let client = daemon.client()?;
    for id in ["one", "two"] {
        let ended = client.get(id)?;
        ensure!(ended.state() == State::Ended && ended.end() == End::Interrupted, "{ended:?}");
    }
    client.recover_all()?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Nobody but the process that has a port can let go of it: that is said, and who it is.
fn a_daemon_that_hangs_keeps_its_ports() -> Result<()> {
    const PORT: u16 = 7_777;
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let range = v1::PortRange { first: PORT.into(), last: None };
    let occupy = v1::NetworkOccupy { ports: vec![range], ..Default::default() };
    daemon.client()?.inject_as("taken", Network::from(occupy).on(&stage.target))?;
    let bind = || {
        let at = SocketAddr::new(net::near(Family::V4), PORT);
        Ok(stage.victim.bind(true, at, PortOptions::default())?.ok())
    };
    ensure!(bind()?.is_none(), "the port is free");
    daemon.signal(Signal::SIGSTOP)?;
    let output = run_command(switch(&stage, Place::default())?, "")?;
    let said = format!("{}{}", output.out, output.err);
    ensure!(output.code != 0 && said.contains("the ports of taken are taken"), "{output:?}");
    ensure!(bind()?.is_none(), "the port is free");
    daemon.kill()?;
    let port = poll::until("the port to be free", Duration::from_secs(10), bind)?;
    stage.victim.close(port)?;
    // What the journal still says of it is for the next daemon to tidy up.
    let daemon = stage.daemon()?;
    let ended = daemon.client()?.get("taken")?;
    ensure!(ended.state() == State::Ended && ended.end() == End::Interrupted, "{ended:?}");
    stage.victim.close(bind()?.context("the port is taken again")?)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_for_root() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, flows) = faults(&stage)?;
    daemon.kill()?;
    let output = run_command(switch(&stage, Place::default().user(65534, 65534))?, "")?;
    ensure!(output.code == 1 && output.err.contains("root"), "{output:?}");
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    pull(&stage)?;
    without_socket(&stage)?;
    stage.clean()
}
