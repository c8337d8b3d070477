//! Loss is silent: whoever sends is told nothing, and TCP takes it for a lossy wire.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, Protocol};

use crate::{
    harness::{
        Agent, Client, Datagrams, Family, Loss, Probe as _, Stage, active, balanced, net, tests,
    },
    victim::{Errors, UdpOptions},
};

tests![
    udp_senders_are_never_told,
    a_full_socket_buffer_drains,
    tcp_sends_again_and_completes_out,
    tcp_sends_again_and_completes_in,
    tcp_completes_under_heavy_loss,
    a_write_into_the_void_succeeds,
];

const PATIENCE: Duration = Duration::from_secs(30);

fn udp_senders_are_never_told() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let mut flows = Vec::new();
    for family in net::families() {
        for receive_errors in [false, true] {
            for connect in [false, true] {
                let receiver = stage.far.udp(net::far(family))?;
                let options = UdpOptions {
                    receive_errors,
                    connect: connect.then_some(receiver.local),
                    ..UdpOptions::default()
                };
                let sender =
                    stage.victim.udp_with(SocketAddr::new(net::near(family), 0), options)?;
                let name = format!("{family:?} {options:?}");
                let flow = Datagrams::new(
                    &stage,
                    name,
                    (&stage.victim, sender),
                    (&stage.far, receiver),
                    receiver.local,
                );
                flows.push(if connect { flow.connected() } else { flow });
            }
        }
    }
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    for flow in &flows {
        flow.none_arrive()?;
        let errors = flow.errors()?;
        ensure!(errors == Errors::default(), "{}: the sender was told {errors:?}", flow.name());
    }
    client.recover(&injection.id)?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A lost packet is freed at once: its sender's buffer does not fill up.
fn a_full_socket_buffer_drains() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?.sized(1400);
    client.inject(Loss::all().on(&stage.target))?;
    let round = flow.round(3000, 0)?;
    ensure!(round.failed.is_empty() && round.arrived.is_empty(), "{} failed", round.failed.len());
    stage.finish(daemon)
}

/// An established connection between a client and an echo server.
fn connected<'a>(stage: &'a Stage) -> Result<(Transfer<'a>, SocketAddr)> {
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    let socket =
        stage.victim.connect(server.local, PATIENCE)?.context("no connection before the fault")?;
    let transfer = Transfer { agent: &stage.victim, socket };
    ensure!(transfer.agent.exchange(socket, 10, PATIENCE)?.complete);
    Ok((transfer, server.local))
}

struct Transfer<'a> {
    agent: &'a Agent,
    socket: crate::harness::Socket,
}

/// Loses the next three packets of a connection and completes a transfer nevertheless.
fn lose_three(stage: &Stage, client: &Client, direction: Direction) -> Result<u64> {
    let (transfer, server) = connected(stage)?;
    let before = stage.victim.snmp("Tcp:RetransSegs")? + stage.far.snmp("Tcp:RetransSegs")?;
    let loss = Loss::all()
        .direction(direction)
        .remote_port(server.port())
        .protocol(Protocol::Tcp)
        .times(3);
    let injection = client.inject(loss.on(&stage.target))?;
    active(&injection)?;
    let exchanged = transfer.agent.exchange(transfer.socket, 40_000, PATIENCE)?;
    ensure!(exchanged.complete, "{exchanged:?}");
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(counters.fired == 3, "{counters:?}");
    client.recover(&injection.id)?;
    let after = stage.victim.snmp("Tcp:RetransSegs")? + stage.far.snmp("Tcp:RetransSegs")?;
    Ok(after - before)
}

fn tcp_sends_again_and_completes_out() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let again = lose_three(&stage, &client, Direction::Out)?;
    ensure!(again >= 1, "TCP counted no retransmission");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn tcp_sends_again_and_completes_in() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let again = lose_three(&stage, &client, Direction::In)?;
    ensure!(again >= 1, "TCP counted no retransmission");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn tcp_completes_under_heavy_loss() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (transfer, _) = connected(&stage)?;
    let injection =
        client.inject(Loss::percent(20.0).seed(11).direction(Direction::Both).on(&stage.target))?;
    let exchanged = transfer.agent.exchange(transfer.socket, 100_000, Duration::from_secs(50))?;
    ensure!(exchanged.complete, "{exchanged:?}");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired > 0 && counters.spared > 0, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Also the established connections of a target are hit; its processes see a slow network, no error.
fn a_write_into_the_void_succeeds() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (transfer, _) = connected(&stage)?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let exchanged = transfer.agent.exchange(transfer.socket, 1000, Duration::from_millis(500))?;
    ensure!(!exchanged.complete && exchanged.received == 0, "{exchanged:?}");
    client.recover(&injection.id)?;
    let exchanged = transfer.agent.exchange(transfer.socket, 0, PATIENCE)?;
    ensure!(exchanged.complete && exchanged.received == 1000, "{exchanged:?}");
    ensure!(exchanged.retransmits >= 1, "TCP counted no retransmission: {exchanged:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
