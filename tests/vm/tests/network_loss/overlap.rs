//! Several faults on one target at the same time: each is accounted, and ends, by itself.

use anyhow::{Result, ensure};
use chaos_common::{
    fault::LossModel,
    value::{Percent, Share},
};

use crate::harness::{Loss, Probe as _, Stage, balanced, tests};

tests![
    the_first_is_recovered_first,
    the_second_is_recovered_first,
    different_filters_do_not_meet,
    a_neighbours_fault_is_another_one,
];

const COUNT: u32 = 200;

/// Two faults on the same packets: the second is asked about what the first spares.
fn overlap(recover_first: usize) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let loss = |seed| Loss::percent(40.0).seed(seed).on(&stage.target);
    let injections = [client.inject(loss(1))?, client.inject(loss(2))?];
    let dice = |seed| {
        Ok::<_, anyhow::Error>(
            LossModel::Share(Share::new(Percent::try_from(40.0)?, None)?).dice(seed).sequence(),
        )
    };
    let (mut first, mut second) = (dice(1)?, dice(2)?);
    let mut fired = [0, 0];
    let mut predict = |both: [bool; 2]| -> Vec<bool> {
        (0..COUNT)
            .map(|_| {
                let by_first = both[0] && first.next() == Some(true);
                let by_second = both[1] && !by_first && second.next() == Some(true);
                fired[0] += u64::from(by_first);
                fired[1] += u64::from(by_second);
                by_first || by_second
            })
            .collect()
    };
    let check = |predicted: &[bool]| {
        let survivors = predicted.iter().filter(|lost| !**lost).count();
        let round = flow.round(COUNT, survivors as u32)?;
        ensure!(
            round.lost() == predicted,
            "{} arrived, {survivors} should have",
            round.arrived.len()
        );
        Ok(())
    };
    check(&predict([true, true]))?;
    client.recover(&injections[recover_first].id)?;
    check(&predict([recover_first == 1, recover_first == 0]))?;
    client.recover(&injections[1 - recover_first].id)?;
    flow.all_arrive()?;
    for (injection, fired) in injections.iter().zip(fired) {
        let counters = balanced(&client.get(&injection.id)?)?;
        ensure!(counters.fired == fired, "{counters:?}, but it lost {fired}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_first_is_recovered_first() -> Result<()> {
    overlap(0)
}

fn the_second_is_recovered_first() -> Result<()> {
    overlap(1)
}

fn different_filters_do_not_meet() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (one, two) = (stage.victim_udp()?, stage.victim_udp()?);
    let on_one = client.inject(Loss::all().remote_port(one.receiver_port()).on(&stage.target))?;
    let on_two = client.inject(Loss::all().remote_port(two.receiver_port()).on(&stage.target))?;
    one.none_arrive()?;
    two.none_arrive()?;
    two.none_arrive()?;
    let (first, second) = (client.recover(&on_one.id)?, client.get(&on_two.id)?);
    let usual = u64::from(one.usual());
    ensure!(
        balanced(&first)?.fired == usual && balanced(&second)?.fired == 2 * usual,
        "{first:?} {second:?}"
    );
    one.all_arrive()?;
    two.none_arrive()?;
    client.recover(&on_two.id)?;
    two.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_neighbours_fault_is_another_one() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let neighbour_cgroup = stage.base.child("neighbour")?;
    let neighbour = crate::harness::Agent::start(
        crate::harness::Place::default().cgroup(&neighbour_cgroup)?.netns(&stage.net.near)?,
    )?;
    let family = crate::harness::Family::V4;
    let (near, far) = (crate::harness::net::near(family), crate::harness::net::far(family));
    let (mine, theirs) =
        (stage.victim_udp()?, stage.udp("neighbour", (&neighbour, near), (&stage.far, far))?);
    let on_mine = client.inject(Loss::all().on(&stage.target))?;
    theirs.all_arrive()?;
    let on_theirs = client.inject(Loss::all().on(&neighbour_cgroup))?;
    mine.none_arrive()?;
    theirs.none_arrive()?;
    client.recover(&on_mine.id)?;
    mine.all_arrive()?;
    theirs.none_arrive()?;
    client.recover(&on_theirs.id)?;
    theirs.all_arrive()?;
    drop(theirs);
    drop(neighbour);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
