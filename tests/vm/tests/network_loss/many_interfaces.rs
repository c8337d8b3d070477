//! A network namespace with so many interfaces that to attach to them all takes longer than the lease: faults
//! elsewhere go on meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Family, Loss, Probe as _, Settings, Stage, active, balanced, net, tests};

tests![a_crowd_elsewhere_costs_no_fault_its_lease];

/// In pairs.
const INTERFACES: usize = 150;
const LEASE: Duration = Duration::from_secs(1);

fn a_crowd_elsewhere_costs_no_fault_its_lease() -> Result<()> {
    let mut stage = Stage::new()?;
    for number in 0..INTERFACES / 2 {
        let (one, two) = (format!("near-{number}a"), format!("near-{number}b"));
        stage.net.near.netlink().add_veth(&one, &two, stage.net.near.fd())?;
    }
    stage.begin_here()?;
    let elsewhere = stage.base.child("elsewhere")?;
    let process = stage.in_other_namespace(&elsewhere)?;
    let address = |last| net::address(Family::V4, 79, last);
    let flow = stage.udp("elsewhere", (&process, address(1)), (&stage.far, address(2)))?;
    let crowded = stage.victim_udp()?;

    let daemon = stage.daemon_with(Settings { lease: Some(LEASE), ..Settings::default() })?;
    let client = daemon.client()?;
    active(&client.inject_as("elsewhere", Loss::all().on(&elsewhere))?)?;
    flow.none_arrive()?;
    flow.begin()?;
    let started = Instant::now();
    let mut rounds = 0_u32;
    while rounds == 0 || started.elapsed() < LEASE * 2 {
        active(&client.inject_as(&format!("crowded-{rounds}"), Loss::all().on(&stage.target))?)?;
        if rounds == 0 {
            let seen = stage.observe()?;
            ensure!(seen.hooks(0) >= INTERFACES, "{} hooks are there", seen.hooks(0));
            crowded.none_arrive()?;
        }
        client.recover(&format!("crowded-{rounds}"))?;
        rounds += 1;
    }
    let round = flow.cease().context("elsewhere")?;
    let (sent, arrived) = (round.sent, &round.arrived);
    ensure!(round.failed.is_empty() && sent > 100, "{round:?}");
    ensure!(arrived.is_empty(), "in {rounds} rounds, of {sent} these arrived: {arrived:?}");
    let counters = balanced(&client.recover("elsewhere")?)?;
    let all = u64::from(sent + flow.usual());
    ensure!(counters.fired == all && counters.past_lease == 0, "of {all}: {counters:?}");
    flow.all_arrive()?;
    crowded.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
