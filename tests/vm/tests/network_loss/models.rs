//! Which of the matching packets are lost: exactly those that the dice say.

use anyhow::{Context as _, Result, ensure};
use chaos_common::{
    fault::{Burst, FourStates, LossModel},
    proto::v1::{self, Direction},
    value::{Every, Percent, Share},
};

use crate::harness::{Client, Datagrams, Loss, Network, Probe as _, Stage, balanced, net, tests};

tests![
    one_percent_is_one_percent,
    the_same_seed_gives_the_same_sequence,
    a_drawn_seed_is_told,
    the_sequence_is_the_same_for_what_comes_in,
    bursts_have_the_asked_length_and_share,
    bursts_may_be_leaky,
    every_so_manieth_is_lost,
    four_states,
    luck_may_depend_on_the_neighbour,
];

/// Sends packets under a fault and compares what is lost with what the dice say.
fn exact(
    stage: &Stage,
    client: &Client,
    flow: &Datagrams<'_>,
    loss: Network,
    model: LossModel,
    count: u32,
) -> Result<Vec<bool>> {
    let injection = client.inject(loss.on(&stage.target))?;
    let predicted: Vec<bool> = model.dice(injection.seed).sequence().take(count as usize).collect();
    let survivors = predicted.iter().filter(|lost| !**lost).count() as u32;
    let round = flow.round(count, survivors)?;
    let differs =
        round.lost().iter().zip(&predicted).position(|(lost, predicted)| lost != predicted);
    ensure!(
        round.failed.is_empty() && differs.is_none(),
        "packet {differs:?} differs: {} of {count} arrived, {survivors} should have",
        round.arrived.len()
    );
    let counters = balanced(&client.recover(&injection.id)?)?;
    let fired = u64::from(count - survivors);
    ensure!(
        counters.matched == u64::from(count)
            && counters.fired == fired
            && counters.spared == u64::from(survivors),
        "{counters:?}, but {fired} of {count} were lost"
    );
    Ok(predicted)
}

fn percent(percent: f64) -> Result<LossModel> {
    Ok(LossModel::Share(Share::new(Percent::try_from(percent)?, None)?))
}

fn one_percent_is_one_percent() -> Result<()> {
    const COUNT: u32 = 10_000;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let lost = exact(&stage, &client, &flow, Loss::percent(1.0).seed(42), percent(1.0)?, COUNT)?;
    let lost = lost.iter().filter(|lost| **lost).count() as f64;
    // The 99 % interval of a binomial distribution.
    let (mean, deviation) = (f64::from(COUNT) * 0.01, (f64::from(COUNT) * 0.01 * 0.99).sqrt());
    ensure!((lost - mean).abs() <= 2.576 * deviation, "{lost} of {COUNT} were lost");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_same_seed_gives_the_same_sequence() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let lose =
        |seed| exact(&stage, &client, &flow, Loss::percent(30.0).seed(seed), percent(30.0)?, 300);
    let (first, second, other) = (lose(7)?, lose(7)?, lose(8)?);
    ensure!(first == second && first != other);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_drawn_seed_is_told() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let lose = || exact(&stage, &client, &flow, Loss::percent(50.0), percent(50.0)?, 200);
    ensure!(lose()? != lose()?, "two injections without a seed got the same sequence");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_sequence_is_the_same_for_what_comes_in() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let ends = ((&stage.far, net::far(family)), (&stage.victim, net::near(family)));
        let flow = stage.udp("incoming", ends.0, ends.1)?;
        let loss = Loss::percent(25.0).direction(Direction::In).seed(3);
        exact(&stage, &client, &flow, loss, percent(25.0)?, 400)
            .with_context(|| format!("{family:?}"))?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn bursts_have_the_asked_length_and_share() -> Result<()> {
    const COUNT: u32 = 4000;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let model = LossModel::Burst(Burst {
        enter: Percent::try_from(5.0)?,
        leave: Percent::try_from(25.0)?,
        inside: Percent::ALL,
        outside: Percent::ZERO,
    });
    let lost = exact(&stage, &client, &flow, Loss::burst(5.0, 25.0).seed(9), model, COUNT)?;
    let total = lost.iter().filter(|lost| **lost).count() as f64;
    let begins = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count() as f64
        + f64::from(u8::from(lost[0]));
    let (length, share) = (total / begins, total / f64::from(COUNT));
    ensure!((3.4..4.6).contains(&length), "bursts of {length} packets, asked for 100 / 25 = 4");
    ensure!((0.14..0.19).contains(&share), "{share} lost, asked for 5 / (5 + 25)");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn bursts_may_be_leaky() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let (enter, leave, inside, outside) = (10.0, 20.0, 70.0, 2.0);
    let burst = v1::Burst { enter, leave, inside: Some(inside), outside: Some(outside) };
    let model = LossModel::Burst(Burst {
        enter: Percent::try_from(enter)?,
        leave: Percent::try_from(leave)?,
        inside: Percent::try_from(inside)?,
        outside: Percent::try_from(outside)?,
    });
    let loss = Loss::model(v1::network_loss::Model::Burst(burst)).seed(21);
    exact(&stage, &client, &flow, loss, model, 1000)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn every_so_manieth_is_lost() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    for every in [2, 7] {
        let loss = Loss::model(v1::network_loss::Model::Every(every));
        let model = LossModel::Every(Every::try_from(every)?);
        let lost = exact(&stage, &client, &flow, loss, model, 100)?;
        let by_hand: Vec<bool> = (1..=100).map(|number| number % every == 0).collect();
        ensure!(lost == by_hand, "one in {every}: {lost:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn four_states() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let (p13, p31, p32, p23, p14) = (5.0, 30.0, 20.0, 60.0, 2.0);
    let states = v1::FourStates { p13, p31, p32: Some(p32), p23: Some(p23), p14: Some(p14) };
    let model = LossModel::FourStates(FourStates {
        p13: Percent::try_from(p13)?,
        p31: Percent::try_from(p31)?,
        p32: Percent::try_from(p32)?,
        p23: Percent::try_from(p23)?,
        p14: Percent::try_from(p14)?,
    });
    let loss = Loss::model(v1::network_loss::Model::FourStates(states)).seed(5);
    let lost = exact(&stage, &client, &flow, loss, model, 2000)?;
    ensure!(lost.contains(&true) && lost.contains(&false));
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn luck_may_depend_on_the_neighbour() -> Result<()> {
    const COUNT: u32 = 2000;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let share = Share::new(Percent::try_from(20.0)?, Some(Percent::try_from(75.0)?))?;
    let loss = Loss::correlated(20.0, 75.0).seed(13);
    let lost = exact(&stage, &client, &flow, loss, LossModel::Share(share), COUNT)?;
    let total = lost.iter().filter(|lost| **lost).count() as f64;
    let behind_a_loss = lost.windows(2).filter(|pair| pair[0] && pair[1]).count() as f64;
    let (share, repeated) = (total / f64::from(COUNT), behind_a_loss / total);
    ensure!((0.13..0.27).contains(&share), "{share} lost, asked for 0.2");
    // 75 % repeat the one before, and of the others 20 % are lost anyhow.
    ensure!((0.72..0.88).contains(&repeated), "{repeated} of the losses came behind one");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
