//! Interfaces that are not like the others.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, Direction};

use super::{LATENCY, all_late, all_soon};
use crate::harness::{Network, Probe as _, Stage, delay, needs, tests};

tests![
    the_loopback,
    the_loopback_in,
    two_delays_add_up_and_each_is_recovered_alone,
    delay_and_duplicate_and_loss_compose,
    an_interface_is_chosen,
];

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn the_loopback() -> Result<()> {
    loopback(Direction::Out)
}

fn the_loopback_in() -> Result<()> {
    loopback(Direction::In)
}

fn loopback(direction: Direction) -> Result<()> {
    let (mut stage, daemon) = Stage::served()?;
    stage.net.near.netlink().set_up("lo")?;
    stage.begin_here()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (victim, bystander) = (&stage.victim, &stage.bystander);
    let outward = stage.udp("victim to bystander", (victim, LOOPBACK), (bystander, LOOPBACK))?;
    let inward = stage.udp("bystander to victim", (bystander, LOOPBACK), (victim, LOOPBACK))?;
    let bystander = stage.udp("bystander", (bystander, LOOPBACK), (bystander, LOOPBACK))?;
    let (hit, spared) =
        if direction == Direction::Out { (&outward, &inward) } else { (&inward, &outward) };
    all_soon(hit)?;
    let spec = Network::from(delay(LATENCY)).direction(direction).on(&stage.target);
    let injection = client.inject(spec)?;
    all_late(hit)?;
    all_soon(spared)?;
    all_soon(&bystander)?;
    client.recover(&injection.id)?;
    all_soon(hit)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

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
