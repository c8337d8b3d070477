//! Connections that there were before.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, RejectAnswer};
use nix::errno::Errno;

use super::reject;
use crate::harness::{Agent, Socket, Stage, needs, net, tests};

tests![
    the_next_packet_out_ends_a_connection,
    the_next_packet_in_ends_a_connection,
    an_error_of_icmp_ends_none,
];

const PATIENCE: Duration = Duration::from_secs(10);
/// More than one segment, so that bundles of them are answered too.
const MUCH: usize = 200_000;

fn open(agent: &Agent, to: SocketAddr) -> Result<Socket> {
    let socket = agent.connect(to, PATIENCE)?.context("no connection")?;
    ensure!(agent.exchange(socket, 1000, PATIENCE)?.complete, "nothing comes back");
    Ok(socket)
}

fn is_reset(agent: &Agent, socket: Socket, bytes: usize) -> Result<()> {
    let exchanged = agent.exchange(socket, bytes, PATIENCE)?;
    ensure!(exchanged.errno == Errno::ECONNRESET as i32, "it was not reset: {exchanged:?}");
    agent.close(socket)
}

fn goes_on(agent: &Agent, socket: Socket) -> Result<()> {
    let exchanged = agent.exchange(socket, MUCH, PATIENCE)?;
    ensure!(exchanged.complete, "it does not go on: {exchanged:?}");
    agent.close(socket)
}

fn the_next_packet_out_ends_a_connection() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        for bytes in [100, MUCH] {
            let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?.local;
            let (mine, other) = (open(&stage.victim, server)?, open(&stage.bystander, server)?);
            let injection = client.inject(reject(RejectAnswer::Reset).on(&stage.target))?;
            is_reset(&stage.victim, mine, bytes)?;
            goes_on(&stage.bystander, other)?;
            client.recover(&injection.id)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_next_packet_in_ends_a_connection() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        for bytes in [100, MUCH] {
            let address = SocketAddr::new(net::near(family), 0);
            let mine = open(&stage.far, stage.victim.listen(address)?.local)?;
            let other = open(&stage.far, stage.bystander.listen(address)?.local)?;
            let spec = reject(RejectAnswer::Reset).direction(Direction::In).on(&stage.target);
            let injection = client.inject(spec)?;
            is_reset(&stage.far, mine, bytes)?;
            goes_on(&stage.far, other)?;
            client.recover(&injection.id)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_error_of_icmp_ends_none() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?.local;
        let mine = open(&stage.victim, server)?;
        let spec = reject(RejectAnswer::PortUnreachable).on(&stage.target);
        let injection = client.inject(spec)?;
        let short = Duration::from_millis(300);
        let exchanged = stage.victim.exchange(mine, 1000, short)?;
        ensure!(exchanged.received == 0 && exchanged.errno == 0, "{exchanged:?}");
        client.recover(&injection.id)?;
        let exchanged = stage.victim.exchange(mine, 0, PATIENCE)?;
        ensure!(exchanged.complete, "what was lost is not sent again: {exchanged:?}");
        stage.victim.close(mine)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
