//! Which packets and connections.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, Protocol, RejectAnswer};
use nix::errno::Errno;

use super::{SOON, connects, is_refused, reject, server};
use crate::harness::{Network, Stage, balanced, needs, tests};

tests![a_budget_is_exact, a_share_of_connections, a_share_of_packets, only_what_matches];

fn a_budget_is_exact() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let server = server(&stage)?;
    let injection = client.inject(reject(RejectAnswer::Reset).times(3).on(&stage.target))?;
    for _ in 0..3 {
        is_refused(&stage.victim, server, Errno::ECONNREFUSED)?;
    }
    connects(&stage.victim, server)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.over_budget > 0, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn refused_of_40(stage: &Stage, server: SocketAddr) -> Result<usize> {
    let tries = (0..40).map(|_| stage.victim.refusal(server, SOON));
    let refusals = tries.collect::<Result<Vec<_>>>()?;
    // What opens it, or the packet behind that.
    let is_odd = |refusal: &&Errno| !matches!(**refusal, Errno::ECONNREFUSED | Errno::ECONNRESET);
    ensure!(refusals.iter().flatten().find(is_odd).is_none(), "{refusals:?}");
    Ok(refusals.iter().flatten().count())
}

fn a_share_of_connections() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let server = server(&stage)?;
    let half = reject(RejectAnswer::Reset).only(|filter| filter.connection_percent = Some(50.0));
    let injection = client.inject(half.seed(7).on(&stage.target))?;
    let refused = refused_of_40(&stage, server)?;
    ensure!((8..=32).contains(&refused), "{refused} of 40 were refused");
    client.recover(&injection.id)?;
    ensure!(refused_of_40(&stage, server)? == 0, "some are refused still");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_of_packets() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let server = server(&stage)?;
    let spec = v1::NetworkReject { percent: Some(20.0), ..Default::default() };
    let injection = client.inject(Network::from(spec).seed(7).on(&stage.target))?;
    let refused = refused_of_40(&stage, server)?;
    ensure!((1..=30).contains(&refused), "{refused} of 40 were refused");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired >= refused as u64 && counters.spared > counters.fired, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_what_matches() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let (closed, open) = (server(&stage)?, server(&stage)?);
    let spec = reject(RejectAnswer::Reset).remote_port(closed.port()).protocol(Protocol::Tcp);
    let injection = client.inject(spec.on(&stage.target))?;
    is_refused(&stage.victim, closed, Errno::ECONNREFUSED)?;
    connects(&stage.victim, open)?;
    client.recover(&injection.id)?;
    connects(&stage.victim, closed)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
