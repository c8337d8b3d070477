//! How many packets are lost of those that are to be lost, and how many in a row, beside netem.

use std::time::Duration;

use anyhow::Result;
use chaos_common::proto::v1::{self, fault::Fault, network_loss::Model};

use super::wire::{FLOW, Wire, root_qdisc};
use crate::{
    compare::Leave,
    daemon::{Daemon, everything, spec},
    flight::Plan,
    row::{Goal, Row},
    setting::Subjects,
    statistics::{binomial_interval, mean, runs},
};

const PERCENTS: [f64; 4] = [0.1, 1.0, 10.0, 50.0];
const PACKETS: u32 = 100_000;
/// Percent, of the burst model: bad times begin and end so.
const ENTER: f64 = 1.0;
const LEAVE: f64 = 25.0;
/// What 99 % of a normal distribution lie within, in standard deviations.
const MOST: f64 = 2.576;

const PLAN: Plan = Plan {
    count: PACKETS as usize,
    bytes: 16,
    apart: Duration::ZERO,
    patience: Duration::from_millis(100),
};

pub(in crate::suite) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let daemon = Daemon::start(subjects)?;
    let mut wire = Wire::new()?;
    let Wire { worker, cgroup, near, .. } = &mut wire;
    let mut lost = |leave: Leave<'_>| -> Result<Vec<bool>> {
        let flight = worker.fly(FLOW, &PLAN)?;
        leave()?;
        Ok(flight.losses().collect())
    };
    // Each its own, or all would draw the same; and fixed, so that a miss would be there in every run.
    let mut seeds = 1..;
    let mut ours = |model| {
        let fault = v1::NetworkLoss {
            model: Some(model),
            filter: Some(everything()),
            ..v1::NetworkLoss::default()
        };
        let spec = spec(cgroup, Fault::NetworkLoss(fault));
        daemon.during(v1::Spec { seed: seeds.next(), ..spec })
    };
    let mut rows = Vec::new();
    for percent in PERCENTS {
        let netem = root_qdisc(near, &format!("netem loss random {percent}%"))?;
        let netem = count(&lost(netem)?);
        let ours = count(&lost(ours(Model::Percent(percent))?)?);
        let (least, most) = binomial_interval(PACKETS, percent / 100.0);
        let row = Row::new(format!("network loss {percent} %: lost of 100,000"), ours, "packets");
        rows.push(
            row.against(format!("netem: {netem}"))
                .goal(Goal::Within(f64::from(least), f64::from(most))),
        );
    }
    let netem = root_qdisc(near, &format!("netem loss gemodel {ENTER}% {LEAVE}%"))?;
    let netem = mean(&runs(lost(netem)?));
    let burst = v1::Burst { enter: ENTER, leave: LEAVE, ..v1::Burst::default() };
    let bursts = runs(lost(ours(Model::Burst(burst))?)?);
    rows.push(
        Row::new("network loss in bursts: mean length", mean(&bursts), "packets")
            .against(format!("asked: {}; netem: {netem:.2}", 100.0 / LEAVE))
            .goal(likely_mean(LEAVE / 100.0, bursts.len())),
    );
    Ok(rows)
}

fn count(lost: &[bool]) -> f64 {
    lost.iter().filter(|lost| **lost).count() as f64
}

/// Where the mean of so many lengths lies, in 99 % of all runs, if each packet ends a row with this chance.
fn likely_mean(chance: f64, lengths: usize) -> Goal {
    let deviation = ((1.0 - chance) / (lengths as f64)).sqrt() / chance;
    let mean = 1.0 / chance;
    Goal::Within(mean - MOST * deviation, mean + MOST * deviation)
}
