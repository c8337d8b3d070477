//! `network reorder`: some packets of a cgroup are overtaken, and nobody else's are.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, network_reorder::Model};

use crate::harness::{Network, Probe as _, Stage, balanced, needs, tests, wire};

tests![every_fifth_is_overtaken, a_share_is_overtaken];

const TIME: Duration = Duration::from_millis(300);

fn reorder(model: Model) -> v1::NetworkReorder {
    v1::NetworkReorder { model: Some(model), time: wire(TIME), ..Default::default() }
}

fn every_fifth_is_overtaken() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reorder")?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    let injection = client.inject(Network::from(reorder(Model::Every(5))).on(&stage.target))?;
    let round = victim.round(20, 20)?;
    let held = |number: &u64| number % 5 == 4;
    let mut expected: Vec<u64> = (0..20).filter(|number| !held(number)).collect();
    expected.extend((0..20).filter(held));
    ensure!(round.arrived == expected, "{round:?}");
    bystander.all_arrive()?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 4 && counters.matched == 20, "{counters:?}");
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_is_overtaken() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reorder")?;
    let flow = stage.victim_udp()?;
    let some = v1::NetworkReorder { correlation: Some(50.0), ..reorder(Model::Percent(25.0)) };
    let injection = client.inject(Network::from(some).seed(2).on(&stage.target))?;
    let round = flow.round(200, 200)?;
    ensure!(round.arrived.len() == 200 && !round.arrived.is_sorted(), "{round:?}");
    let late = round.late_us.iter().filter(|late| **late >= TIME.as_micros() as i64).count();
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == late as u64, "{late} were late, {counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
