//! Packets that wait in the daemon: what that brings with it. What they have in common with those that wait in the
//! kernel is told by the other tests, which are run this way too.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::Direction;
use nix::sys::signal::Signal;

use super::{LATENCY, all_late, all_soon};
use crate::harness::{
    Family, LEASE, Network, Probe as _, Settings, Stage, active, delay, needs, net, poll, skip,
    tests,
};

tests![
    a_killed_daemon_lets_traffic_go_at_once,
    a_stopped_daemon_holds_to_the_end_of_its_lease,
    a_restart_makes_the_place_anew,
    ten_thousand_packets_wait,
    a_connection_moves_megabytes_out,
    a_connection_moves_megabytes_in,
];

/// A lease that nobody outlives here.
fn settings() -> Settings {
    Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() }
}

fn a_killed_daemon_lets_traffic_go_at_once() -> Result<()> {
    let stage = Stage::new()?;
    // Its lease is not what helps.
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&flow)?;
    daemon.kill()?;
    let died = Instant::now();
    let sent = stage.victim.send(flow.sender(), flow.receiver().local, 1 << 32, 20)?;
    ensure!(sent.failed.is_empty(), "{sent:?}");
    let elapsed = died.elapsed();
    ensure!(elapsed < Duration::from_secs(1), "this machine is too slow: {elapsed:?}");
    let arrivals = stage.far.arrivals(flow.receiver(), 20, Duration::from_secs(5))?;
    ensure!(arrivals.len() == 20, "{arrivals:?}");
    let most = LATENCY.as_micros() as i64;
    ensure!(arrivals.iter().all(|arrival| arrival.late_us < most), "{arrivals:?}");
    let daemon = stage.daemon()?;
    daemon.client()?.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_stopped_daemon_holds_to_the_end_of_its_lease() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (flow, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&flow)?;
    daemon.signal(Signal::SIGSTOP)?;
    bystander.all_arrive()?;
    poll::until_ok("the lease to lapse", LEASE + Duration::from_secs(2), || flow.all_arrive_now())?;
    daemon.signal(Signal::SIGCONT)?;
    // What it was given until then arrives now, before what is sent from now on.
    while !stage.far.arrivals(flow.receiver(), 1, LATENCY)?.is_empty() {}
    poll::until_ok("the fault to come back", LEASE * 3, || all_late(&flow))?;
    client.recover(&injection.id)?;
    poll::until_ok("traffic to flow", LEASE, || all_soon(&flow))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_restart_makes_the_place_anew() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&flow)?;
    daemon.kill()?;
    all_soon(&flow)?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    active(&client.get(&injection.id)?)?;
    all_late(&flow)?;
    client.recover(&injection.id)?;
    all_soon(&flow)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn ten_thousand_packets_wait() -> Result<()> {
    const COUNT: u32 = 10_000;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let time = Duration::from_secs(8);
    let (sender, receiver) =
        (stage.victim.udp(net::near(Family::V4))?, stage.far.udp(net::far(Family::V4))?);
    let injection = client.inject(Network::from(delay(time)).on(&stage.target))?;
    let mut came = Vec::new();
    for first in (0..u64::from(COUNT)).step_by(100) {
        let sent = stage.victim.send(sender, receiver.local, first, 100)?;
        ensure!(sent.failed.is_empty(), "{sent:?}");
        came.extend(stage.far.arrivals(receiver, 0, Duration::ZERO)?);
    }
    let patience = Duration::from_secs(60);
    let counters = client.get(&injection.id)?.counters.context("no counters")?;
    ensure!(counters.fired == u64::from(COUNT), "{counters:?}");
    poll::until("all to arrive", patience, || {
        came.extend(stage.far.arrivals(receiver, 1, Duration::from_secs(1))?);
        Ok((came.len() == COUNT as usize).then_some(()))
    })?;
    let least = time.as_micros() as i64;
    ensure!(came.iter().all(|arrival| arrival.late_us >= least), "some did not wait");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_connection_moves_megabytes_out() -> Result<()> {
    megabytes(Direction::Out)
}

fn a_connection_moves_megabytes_in() -> Result<()> {
    megabytes(Direction::In)
}

/// What the stack would have had cut and summed by a device is cut and summed.
fn megabytes(direction: Direction) -> Result<()> {
    const BYTES: usize = 3_000_000;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let short = Network::from(delay(Duration::from_millis(5))).direction(direction);
    let injection = client.inject(short.on(&stage.target))?;
    for family in [Family::V4, Family::V6] {
        if family == Family::V6 && skip::needs_ipv6().is_err() {
            continue;
        }
        let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?;
        let patience = Duration::from_secs(60);
        let connection = stage.victim.connect(server.local, patience)?.context("no connection")?;
        let exchanged = stage.victim.exchange(connection, BYTES, patience)?;
        ensure!(exchanged.complete && exchanged.received == BYTES, "{exchanged:?}");
    }
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
