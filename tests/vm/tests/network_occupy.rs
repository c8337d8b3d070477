//! `network occupy`: some ports cannot be bound to, in the target's network or by the target alone, and elsewhere
//! everybody can.

#[path = "network_occupy/held.rs"]
mod held;
#[path = "network_occupy/refused.rs"]
mod refused;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use chaos_common::proto::v1::{self, Protocol};
use libtest_mimic::Trial;
use nix::errno::Errno;

use crate::{
    harness::{Agent, Client, Daemon, Network, Settings, Socket, Stage, net},
    victim::{PortOptions, Then},
};

pub(crate) fn trials() -> Vec<Trial> {
    [held::trials(), refused::trials()].into_iter().flatten().collect()
}

const PORT: u16 = 8080;
const SOON: Duration = Duration::from_secs(10);

fn range(first: u16, last: u16) -> v1::PortRange {
    v1::PortRange { first: first.into(), last: Some(last.into()) }
}

fn occupy(protocols: &[Protocol], ports: &[v1::PortRange]) -> v1::NetworkOccupy {
    let protocols = protocols.iter().map(|protocol| i32::from(*protocol)).collect();
    v1::NetworkOccupy { ports: ports.to_vec(), protocols, address: None, ..Default::default() }
}

/// TCP and UDP, both families.
fn all_of(port: u16) -> Network {
    occupy(&[Protocol::Tcp, Protocol::Udp], &[range(port, port)]).into()
}

fn at(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, PORT)
}

/// How somebody may try to bind: all ways that differ to the kernel.
fn ways() -> Vec<(bool, SocketAddr, PortOptions)> {
    let mut ways = Vec::new();
    for family in net::families() {
        let (all, one) = (net::any(family), net::near(family));
        for address in [all, one, net::loopback(family)] {
            for stream in [true, false] {
                for (reuse_address, reuse_port) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let dual = address == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
                    let then = if stream { Then::Listen } else { Then::Nothing };
                    let options = PortOptions { reuse_address, reuse_port, dual, then };
                    ways.push((stream, at(address), options));
                }
            }
        }
    }
    ways
}

/// Fails unless a process can bind in every way, each by itself.
fn all_bind(agent: &Agent) -> Result<()> {
    for (stream, address, options) in ways() {
        let bound = agent.bind(stream, address, options)?;
        let socket = bound.with_context(|| format!("{stream} {address} {options:?}"))?;
        agent.close(socket)?;
    }
    Ok(())
}

/// Fails unless every way to bind is refused with EADDRINUSE.
fn none_binds(agent: &Agent) -> Result<()> {
    for (stream, address, options) in ways() {
        // It is to be `bind` that fails, not `listen`.
        let options = PortOptions { then: Then::Nothing, ..options };
        match agent.bind(stream, address, options)? {
            Err(Errno::EADDRINUSE) => {}
            other => bail!("{stream} {address} {options:?}: {other:?}"),
        }
    }
    Ok(())
}

fn listen(agent: &Agent, address: SocketAddr) -> Result<Result<Socket, Errno>> {
    let options = PortOptions { reuse_address: true, then: Then::Listen, ..Default::default() };
    agent.bind(true, address, options)
}

/// Fails unless a process can serve on a port just now.
fn is_free(agent: &Agent, port: u16) -> Result<()> {
    let socket = listen(agent, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))?;
    agent.close(socket.with_context(|| format!("port {port}"))?)
}

fn is_taken(agent: &Agent, port: u16) -> Result<()> {
    match listen(agent, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))? {
        Err(Errno::EADDRINUSE) => Ok(()),
        Err(errno) => bail!("port {port}: {errno}"),
        Ok(socket) => {
            agent.close(socket)?;
            bail!("port {port} is free")
        }
    }
}

fn ready() -> Result<(Stage, Daemon, Client)> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    Ok((stage, daemon, client))
}

fn end(stage: &Stage, daemon: Daemon) -> Result<()> {
    stage.idle(&daemon)?;
    all_bind(&stage.victim)?;
    stage.finish(daemon)
}

/// Time enough for a restart on a slow machine.
fn patient() -> Settings {
    Settings { lease: Some(Duration::from_secs(20)), ..Settings::default() }
}
