//! `network corrupt`: bits of a cgroup's packets change, and nobody else's do.

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Checksum, CorruptRegion, Direction};
use libtest_mimic::Trial;

use crate::harness::{
    Datagrams, Family, Network, Probe as _, Stage, Transport, balanced, needs, net, skip, tests,
    trial,
};

tests![a_connection_survives_broken_packets, a_share_is_corrupted, headers_too, the_loopback];

pub(crate) fn all_trials() -> Vec<Trial> {
    let mut trials = trials();
    for family in [Family::V4, Family::V6] {
        for (direction, way) in [(Direction::Out, "out"), (Direction::In, "in")] {
            for (checksum, word) in [(Checksum::Fixed, "fixed"), (Checksum::Broken, "broken")] {
                let name = format!("udp_{family:?}_{way}_{word}").to_lowercase();
                let run = move || cell(family, direction, checksum);
                trials.push(trial(module_path!(), &name, run));
            }
        }
    }
    trials
}

fn corrupt(percent: f64, checksum: Checksum) -> v1::NetworkCorrupt {
    v1::NetworkCorrupt { percent, checksum: checksum.into(), ..Default::default() }
}

/// Bytes of a datagram.
const SIZE: usize = 600;

fn flow<'a>(
    stage: &'a Stage,
    name: &str,
    agent: &'a crate::harness::Agent,
    family: Family,
    direction: Direction,
) -> Result<Datagrams<'a>> {
    let (near, far) = ((agent, net::near(family)), (&stage.far, net::far(family)));
    let (from, to) = if direction == Direction::Out { (near, far) } else { (far, near) };
    Ok(stage.udp(name, from, to)?.sized(SIZE))
}

/// The counter of datagrams whose checksum was wrong.
fn noticed(stage: &Stage, family: Family, direction: Direction) -> Result<u64> {
    let agent = if direction == Direction::Out { &stage.far } else { &stage.victim };
    agent.snmp(match family {
        Family::V4 => "Udp:InCsumErrors",
        Family::V6 => "Udp6InCsumErrors",
    })
}

fn cell(family: Family, direction: Direction, checksum: Checksum) -> Result<()> {
    if family == Family::V6 {
        skip::needs_ipv6()?;
    }
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network corrupt")?;
    let victim = flow(&stage, "victim", &stage.victim, family, direction)?;
    let bystander = flow(&stage, "bystander", &stage.bystander, family, direction)?;
    victim.all_arrive()?;
    let before = noticed(&stage, family, direction)?;
    let spec = Network::from(corrupt(100.0, checksum)).direction(direction).seed(1);
    let injection = client.inject(spec.on(&stage.target))?;
    match checksum {
        Checksum::Fixed => {
            let round = victim.round(50, 50)?;
            ensure!(round.spoilt == 50 && round.failed.is_empty(), "{round:?}");
            ensure!(noticed(&stage, family, direction)? == before, "a checksum was wrong");
        }
        Checksum::Broken | Checksum::Unspecified => {
            victim.none_arrive()?;
            let wrong = noticed(&stage, family, direction)? - before;
            ensure!(wrong == 20, "{wrong} of 20 datagrams had a wrong checksum");
        }
    }
    bystander.all_arrive()?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired >= 20, "{counters:?}");
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_connection_survives_broken_packets() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network corrupt")?;
    let flow = stage.flow(&stage.victim, Transport::Tcp, Family::V4, Direction::Out)?;
    let spec = Network::from(corrupt(20.0, Checksum::Broken)).direction(Direction::Both).seed(4);
    let injection = client.inject(spec.on(&stage.target))?;
    // The agent checks what comes back byte by byte.
    flow.round(5, 5)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched > 0, "{counters:?}");
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_is_corrupted() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network corrupt")?;
    let flow = flow(&stage, "victim", &stage.victim, Family::V4, Direction::Out)?;
    let some = v1::NetworkCorrupt { bits: Some(16), ..corrupt(30.0, Checksum::Fixed) };
    let injection = client.inject(Network::from(some).seed(6).on(&stage.target))?;
    let round = flow.round(200, 200)?;
    let counters = client.recover(&injection.id)?.counters.context("no counters")?;
    ensure!(counters.fired == u64::from(round.spoilt), "{counters:?}, {round:?}");
    ensure!((35..85).contains(&round.spoilt), "{} of 200 were corrupted", round.spoilt);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn headers_too() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network corrupt")?;
    let flow = flow(&stage, "victim", &stage.victim, Family::V4, Direction::Out)?;
    let headers = v1::NetworkCorrupt {
        region: CorruptRegion::Headers.into(),
        ..corrupt(100.0, Checksum::Fixed)
    };
    let injection = client.inject(Network::from(headers).seed(2).on(&stage.target))?;
    // Ports or lengths are wrong: hardly any finds its socket, and none is whole.
    let round = flow.round(40, 0)?;
    ensure!(round.arrived.len() < 30 && round.spoilt == 0, "{round:?}");
    client.recover(&injection.id)?;
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_loopback() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "network corrupt")?;
    let lo = "127.0.0.1".parse()?;
    let flow = stage.udp("victim", (&stage.victim, lo), (&stage.victim, lo))?.sized(SIZE);
    let fixed = Network::from(corrupt(100.0, Checksum::Fixed)).seed(1).on(&stage.target);
    let injection = client.inject(fixed)?;
    let round = flow.round(50, 50)?;
    ensure!(round.spoilt == 50, "{round:?}");
    client.recover(&injection.id)?;
    let broken =
        client.inject(Network::from(corrupt(100.0, Checksum::Broken)).on(&stage.target))?;
    flow.none_arrive()?;
    client.recover(&broken.id)?;
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
