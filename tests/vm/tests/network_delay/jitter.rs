//! How delays stray, and whether packets overtake each other.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Distribution};

use crate::harness::{
    Family, Network, Probe as _, Stage, delay, needs, net,
    skip::{self, skip},
    tests, wire,
};

tests![
    order_is_kept,
    order_is_lost_if_that_is_allowed,
    a_share_is_late_and_the_rest_is_not,
    the_mean_and_the_ends_are_those_asked_for,
    thousands_do_not_wait_for_each_other,
];

const LATENCY: Duration = Duration::from_millis(200);
const JITTER: Duration = Duration::from_millis(150);

fn order_is_kept() -> Result<()> {
    let order = order(false)?;
    ensure!(order.is_sorted(), "packets overtook each other: {order:?}");
    Ok(())
}

fn order_is_lost_if_that_is_allowed() -> Result<()> {
    let order = order(true)?;
    ensure!(!order.is_sorted(), "no packet overtook another");
    Ok(())
}

/// In which order a hundred packets arrive that are sent at once.
fn order(reorder: bool) -> Result<Vec<u64>> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    let jittery = v1::NetworkDelay { jitter: wire(JITTER), reorder, ..delay(LATENCY) };
    let injection = client.inject(Network::from(jittery).seed(1).on(&stage.target))?;
    let round = flow.round(100, 100)?;
    ensure!(round.arrived.len() == 100, "{round:?}");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)?;
    Ok(round.arrived)
}

fn a_share_is_late_and_the_rest_is_not() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    let some = v1::NetworkDelay { percent: Some(30.0), ..delay(super::LATENCY) };
    let injection = client.inject(Network::from(some).seed(3).on(&stage.target))?;
    let round = flow.round(200, 200)?;
    let late = |late: &&i64| **late >= super::LATENCY.as_micros() as i64;
    let count = round.late_us.iter().filter(late).count();
    let counters = client.recover(&injection.id)?.counters.context("no counters")?;
    ensure!(counters.fired == count as u64, "{count} were late, {counters:?}");
    ensure!((35..85).contains(&count), "{count} of 200 were late, 60 should have been");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_mean_and_the_ends_are_those_asked_for() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let flow = stage.victim_udp()?;
    for distribution in [Distribution::Uniform, Distribution::Normal, Distribution::Pareto] {
        let jittery = v1::NetworkDelay {
            jitter: wire(Duration::from_millis(50)),
            distribution: distribution.into(),
            reorder: true,
            ..delay(LATENCY)
        };
        let injection = client.inject(Network::from(jittery).seed(5).on(&stage.target))?;
        let late: Vec<f64> =
            flow.round(400, 400)?.late_us.iter().map(|late| *late as f64 / 1000.0).collect();
        client.recover(&injection.id)?;
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        // A slow machine adds some; four standard errors of the mean are 10.
        ensure!((190.0..245.0).contains(&mean), "{distribution:?}: mean {mean} ms");
        let least = late.iter().copied().fold(f64::INFINITY, f64::min);
        let deviation =
            (late.iter().map(|late| (late - mean).powi(2)).sum::<f64>() / late.len() as f64).sqrt();
        match distribution {
            Distribution::Uniform => {
                ensure!(least >= 150.0, "one came after {least} ms, 150 is the least");
                ensure!(
                    (22.0..40.0).contains(&deviation),
                    "even: deviation {deviation} ms: {late:?}"
                );
            }
            Distribution::Normal => {
                ensure!(
                    (40.0..62.0).contains(&deviation),
                    "normal: deviation {deviation} ms: {late:?}"
                );
            }
            // Its least value is 0.577 deviations below the mean.
            Distribution::Pareto | Distribution::ParetoNormal | Distribution::Unspecified => {
                ensure!(least >= 170.0, "one came after {least} ms, 171 is the least");
            }
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Of those that may overtake each other none waits for another, however many there are.
fn thousands_do_not_wait_for_each_other() -> Result<()> {
    const COUNT: u32 = 5_000;
    const MEAN: Duration = Duration::from_secs(6);
    const SPREAD: Duration = Duration::from_secs(5);
    if !skip::own_machine() {
        return skip("it takes eleven seconds; a VM's clock does not wait");
    }
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (sender, receiver) =
        (stage.victim.udp(net::near(Family::V4))?, stage.far.udp(net::far(Family::V4))?);
    let jittery = v1::NetworkDelay { jitter: wire(SPREAD), reorder: true, ..delay(MEAN) };
    let injection = client.inject(Network::from(jittery).seed(1).on(&stage.target))?;
    let sent = stage.victim.send(sender, receiver.local, 0, COUNT)?;
    ensure!(sent.failed.is_empty(), "{} failed", sent.failed.len());
    let arrivals = stage.far.arrivals(receiver, COUNT as usize, (MEAN + SPREAD) * 2)?;
    ensure!(arrivals.len() == COUNT as usize, "{} arrived", arrivals.len());
    let sum: i64 = arrivals.iter().map(|arrival| arrival.late_us).sum();
    // Four times what the mean of so many strays by.
    let (mean, bound) = (sum / i64::from(COUNT), 4 * SPREAD.as_micros() as i64 / 122);
    let strays = (mean - MEAN.as_micros() as i64).abs();
    ensure!(strays < bound, "the mean is {mean} us, {strays} us from what was asked for");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
