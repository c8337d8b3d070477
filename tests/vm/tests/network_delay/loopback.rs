//! What stays in its network namespace: packets on the loopback.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::Direction;

use super::{
    LATENCY, all_late, all_soon,
    packets::joined,
    qdiscs::{CLSACT, root},
};
use crate::harness::{Datagrams, Family, Network, Stage, delay, needs, net, skip, tests};

tests![
    packets_out,
    packets_in,
    large_packets,
    a_connection_moves_a_megabyte,
    multicast_does_not_wait,
    a_qdisc_that_is_there_stays,
    others_lose_nothing,
];

/// As long as a slow machine takes for a connection.
const PATIENCE: Duration = Duration::from_secs(60);

/// The addresses by which a namespace sends to itself: the loopback's, another of its, and an interface's.
fn homes() -> Vec<IpAddr> {
    let another = IpAddr::from([127, 9, 8, 7]);
    let families = net::families().into_iter();
    families
        .flat_map(|family| [net::loopback(family), net::near(family)])
        .chain([another])
        .collect()
}

fn packets_out() -> Result<()> {
    packets(Direction::Out)
}

fn packets_in() -> Result<()> {
    packets(Direction::In)
}

fn packets(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (victim, bystander) = (&stage.victim, &stage.bystander);
    for home in homes() {
        let outward = stage.udp(format!("out to {home}"), (victim, home), (bystander, home))?;
        let inward = stage.udp(format!("in from {home}"), (bystander, home), (victim, home))?;
        let beside =
            stage.udp(format!("bystander at {home}"), (bystander, home), (bystander, home))?;
        let (hit, spared) =
            if direction == Direction::Out { (&outward, &inward) } else { (&inward, &outward) };
        all_soon(hit)?;
        let spec = Network::from(delay(LATENCY)).direction(direction).on(&stage.target);
        let injection = client.inject(spec)?;
        all_late(hit)?;
        all_soon(spared)?;
        all_soon(&beside)?;
        client.recover(&injection.id)?;
        all_soon(hit)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn large_packets() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    for home in homes() {
        let ends = ((&stage.victim, home), (&stage.bystander, home));
        all_late(&stage.udp(format!("to {home}"), ends.0, ends.1)?.sized(65_000))?;
    }
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_connection_moves_a_megabyte() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    for direction in [Direction::Out, Direction::In] {
        let spec =
            Network::from(delay(Duration::from_millis(20))).direction(direction).on(&stage.target);
        let injection = client.inject(spec)?;
        for home in homes() {
            let server = stage.bystander.listen(SocketAddr::new(home, 0))?;
            let connection = stage.victim.connect(server.local, PATIENCE)?;
            let connection = connection.with_context(|| format!("no connection to {home}"))?;
            let exchanged = stage.victim.exchange(connection, 1_000_000, PATIENCE)?;
            ensure!(exchanged.complete, "{home}: {exchanged:?}");
        }
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// It has no way back from the place where packets wait, so it is left alone, and not lost.
fn multicast_does_not_wait() -> Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (receiver, group) = joined(&stage.bystander, GROUP, Ipv4Addr::LOCALHOST)?;
    let sender = stage.victim.udp(Ipv4Addr::LOCALHOST.into())?;
    let (from, to) = ((&stage.victim, sender), (&stage.bystander, receiver));
    let flow = Datagrams::new(&stage, "to a group on the loopback", from, to, group);
    all_soon(&flow)?;
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_soon(&flow)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_qdisc_that_is_there_stays() -> Result<()> {
    let (mut stage, daemon) = Stage::served_with_loopback()?;
    root(&stage, "lo", "pfifo", 1000_u32.to_ne_bytes().into())?;
    stage.begin_here()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let home = net::loopback(Family::V4);
    let flow = stage.udp("out", (&stage.victim, home), (&stage.bystander, home))?;
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&flow)?;
    client.recover(&injection.id)?;
    all_soon(&flow)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Neither when it begins to hold packets nor when it ends.
fn others_lose_nothing() -> Result<()> {
    let (mut stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    if skip::kernel() < (6, 6) {
        // To add or delete one takes the interface's queue away for a moment, whoever does so.
        stage.net.near.netlink().add_qdisc("lo", "clsact", CLSACT, 0xffff)?;
        stage.begin_here()?;
    }
    let home = net::loopback(Family::V4);
    let flow = stage.udp("bystander", (&stage.bystander, home), (&stage.bystander, home))?;
    for _ in 0..3 {
        flow.begin()?;
        let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
        client.recover(&injection.id)?;
        stage.idle(&daemon)?;
        let round = flow.cease_and_wait()?;
        let came: BTreeSet<u64> = round.arrived.iter().copied().collect();
        let lost: Vec<_> = (0..u64::from(round.sent)).filter(|n| !came.contains(n)).collect();
        ensure!(lost.is_empty() && round.failed.is_empty(), "{lost:?} are lost: {round:?}");
    }
    stage.finish(daemon)
}
