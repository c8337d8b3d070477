//! Interfaces that are not like the others.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, Direction};

use super::{LATENCY, all_late, all_soon};
use crate::harness::{
    Agent, Datagrams, Family, Network, Probe as _, Stage, delay, needs, net, poll, tests,
};

tests![
    two_delays_add_up_and_each_is_recovered_alone,
    delay_and_duplicate_and_loss_compose,
    an_interface_is_chosen,
    an_interface_that_comes_back_is_delayed_again,
    a_namespace_that_is_new_is_delayed_too,
];

/// How soon the daemon must have seen a change, with room for a slow machine.
const SOON: Duration = Duration::from_secs(20);

fn two_delays_add_up_and_each_is_recovered_alone() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    let spec = || Network::from(delay(LATENCY)).on(&stage.target);
    let (first, second) = (client.inject(spec())?, client.inject(spec())?);
    let twice = 2 * LATENCY.as_micros() as i64;
    let round = flow.round(20, 20)?;
    ensure!(round.late_us.iter().all(|late| *late >= twice), "{round:?}");
    client.recover(&first.id)?;
    let round = flow.round(20, 20)?;
    let once = |late: &i64| (LATENCY.as_micros() as i64..twice).contains(late);
    ensure!(round.late_us.iter().all(once), "{round:?}");
    client.recover(&second.id)?;
    all_soon(&flow)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn delay_and_duplicate_and_loss_compose() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    let late = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    let twice = v1::NetworkDuplicate { percent: 100.0, ..Default::default() };
    let twice = client.inject(Network::from(twice).on(&stage.target))?;
    let every = v1::network_loss::Model::Every(2);
    let half = client.inject(crate::harness::Loss::model(every).on(&stage.target))?;
    // Loss first: what is lost is not duplicated, and what is duplicated is late.
    let round = flow.round(20, 20)?;
    let expected: Vec<u64> = (0..20).step_by(2).flat_map(|number| [number, number]).collect();
    ensure!(round.arrived == expected, "{round:?}");
    ensure!(round.late_us.iter().all(|late| *late >= LATENCY.as_micros() as i64), "{round:?}");
    client.recover(&half.id)?;
    client.recover(&late.id)?;
    let round = flow.round(20, 40)?;
    ensure!(round.arrived.len() == 40, "{round:?}");
    client.recover(&twice.id)?;
    all_soon(&flow)?;
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_interface_is_chosen() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    for (name, is_hit) in [("near0", true), ("near1", false)] {
        let spec = Network::from(delay(LATENCY)).only(|filter| filter.interface = name.into());
        let injection = client.inject(spec.on(&stage.target))?;
        if is_hit { all_late(&flow) } else { all_soon(&flow) }?;
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// UDP both ways between a process and the far end over a second wire.
fn both_ways<'a>(stage: &'a Stage, agent: &'a Agent, net: u8) -> Result<[Datagrams<'a>; 2]> {
    let near = (agent, net::address(Family::V4, net, 1));
    let far = (&stage.far, net::address(Family::V4, net, 2));
    Ok([stage.udp("out", near, far)?, stage.udp("in", far, near)?])
}

/// Waits until packets are late that were not.
fn become_late(flows: &[Datagrams<'_>]) -> Result<()> {
    poll::until_ok("the fault to reach these flows", SOON, || {
        flows.iter().try_for_each(|f| all_late(f))
    })
}

fn an_interface_that_comes_back_is_delayed_again() -> Result<()> {
    const WIRE: u8 = 78;
    let (stage, daemon) = Stage::served()?;
    net::wire(&stage.net.near, "near1", &stage.net.far, "far2", WIRE)?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let spec = Network::from(delay(LATENCY)).direction(Direction::Both).on(&stage.target);
    let injection = client.inject(spec)?;
    let lasting = stage.victim_udp()?;
    for _ in 0..2 {
        let flows = both_ways(&stage, &stage.victim, WIRE)?;
        become_late(&flows)?;
        // It goes while packets wait for it.
        flows[0].begin()?;
        stage.net.near.netlink().delete("near1")?;
        flows[0].cease()?;
        all_late(&lasting)?;
        net::wire(&stage.net.near, "near1", &stage.net.far, "far2", WIRE)?;
    }
    client.recover(&injection.id)?;
    both_ways(&stage, &stage.victim, WIRE)?.iter().try_for_each(|flow| all_soon(flow))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_namespace_that_is_new_is_delayed_too() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let spec = Network::from(delay(LATENCY)).direction(Direction::Both).on(&stage.target);
    let injection = client.inject(spec)?;
    let restarted = stage.in_other_namespace(&stage.target)?;
    become_late(&both_ways(&stage, &restarted, 79)?)?;
    stage.victim.kill()?;
    become_late(&both_ways(&stage, &restarted, 79)?)?;
    client.recover(&injection.id)?;
    both_ways(&stage, &restarted, 79)?.iter().try_for_each(|flow| all_soon(flow))?;
    drop(restarted);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
