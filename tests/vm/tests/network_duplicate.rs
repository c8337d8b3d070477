//! `network duplicate`: packets of a cgroup arrive several times, and nobody else's do.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, Direction};

use crate::harness::{Family, Network, Probe, Stage, Transport, balanced, needs, net, skip, tests};

tests![
    every_packet_comes_twice_out,
    every_packet_comes_twice_in,
    copies_are_counted,
    on_the_loopback,
    a_connection_survives,
];

fn every_packet_comes_twice_out() -> Result<()> {
    twice(Direction::Out)
}

fn every_packet_comes_twice_in() -> Result<()> {
    twice(Direction::In)
}

fn duplicate(percent: f64) -> v1::NetworkDuplicate {
    v1::NetworkDuplicate { percent, ..Default::default() }
}

/// Each packet comes so many times. A copy stays behind what came before its packet; what waited
/// at its receiver already, it does not overtake.
fn comes(flow: &dyn Probe, times: u32) -> Result<()> {
    let round = flow.round(20, 20 * times)?;
    let mut copies = BTreeMap::<u64, u32>::new();
    let mut firsts = Vec::new();
    for number in &round.arrived {
        let count = copies.entry(*number).or_default();
        if *count == 0 {
            firsts.push(*number);
        }
        *count += 1;
    }
    ensure!(
        round.failed.is_empty()
            && firsts.into_iter().eq(0..20)
            && copies.values().all(|count| *count == times),
        "{}: {round:?}",
        flow.name()
    );
    Ok(())
}

fn twice(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network duplicate")?;
    for family in net::families() {
        if family == Family::V6 {
            skip::needs_ipv6()?;
        }
        let victim = stage.flow(&stage.victim, Transport::Udp, family, direction)?;
        let bystander = stage.flow(&stage.bystander, Transport::Udp, family, direction)?;
        comes(&*victim, 1)?;
        let spec = Network::from(duplicate(100.0)).direction(direction).on(&stage.target);
        let injection = client.inject(spec)?;
        comes(&*victim, 2)?;
        comes(&*bystander, 1)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 20, "{counters:?}");
        comes(&*victim, 1)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn copies_are_counted() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network duplicate")?;
    let flow = stage.victim_udp()?;
    let copies = v1::NetworkDuplicate { copies: Some(3), ..duplicate(100.0) };
    let injection = client.inject(Network::from(copies).times(10).on(&stage.target))?;
    let round = flow.round(20, 50)?;
    ensure!(round.arrived.len() == 50, "{round:?}");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn on_the_loopback() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network duplicate")?;
    let (victim, bystander) = (&stage.victim, &stage.bystander);
    for home in net::families().into_iter().map(net::loopback) {
        let outward = stage.udp(format!("out to {home}"), (victim, home), (bystander, home))?;
        let inward = stage.udp(format!("in from {home}"), (bystander, home), (victim, home))?;
        for (direction, hit, spared) in
            [(Direction::Out, &outward, &inward), (Direction::In, &inward, &outward)]
        {
            let twice = Network::from(duplicate(100.0)).direction(direction).on(&stage.target);
            let twice = client.inject(twice)?;
            comes(hit, 2)?;
            comes(spared, 1)?;
            client.recover(&twice.id)?;
            comes(hit, 1)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_connection_survives() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network duplicate")?;
    let flow = stage.flow(&stage.victim, Transport::Tcp, Family::V4, Direction::Out)?;
    let spec = Network::from(duplicate(50.0)).direction(Direction::Both).on(&stage.target);
    let injection = client.inject(spec)?;
    flow.all_arrive()?;
    client.recover(&injection.id)?;
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
