//! `network rate`: a cgroup's packets go through a slow line, and nobody else's do.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, Direction, network_rate::Excess};

use crate::harness::{Datagrams, Family, Network, Probe as _, Stage, balanced, needs, net, tests};

tests![packets_queue_out, packets_queue_in, too_much_is_dropped, each_connection_has_its_own_line,];

/// Bytes of a datagram with its headers of IP and Ethernet: 100 of them take the line a second.
const SIZE: usize = 1_000;
const WIRE: u64 = SIZE as u64 + 20 + 8 + 14;
const BITS_PER_SECOND: u64 = 100 * WIRE * 8;

fn line(excess: Excess) -> v1::NetworkRate {
    v1::NetworkRate {
        bits_per_second: BITS_PER_SECOND,
        burst_bytes: Some(1_600),
        excess: Some(excess),
        ..Default::default()
    }
}

fn flow<'a>(stage: &'a Stage, direction: Direction) -> Result<Datagrams<'a>> {
    let (near, far) = ((&stage.victim, net::near(Family::V4)), (&stage.far, net::far(Family::V4)));
    let (from, to) = if direction == Direction::Out { (near, far) } else { (far, near) };
    Ok(stage.udp("victim", from, to)?.sized(SIZE))
}

fn packets_queue_out() -> Result<()> {
    packets_queue(Direction::Out)
}

fn packets_queue_in() -> Result<()> {
    packets_queue(Direction::In)
}

fn packets_queue(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network rate")?;
    let (victim, bystander) = (flow(&stage, direction)?, stage.bystander_udp()?);
    let spec = Network::from(line(Excess::QueueBytes(1 << 20))).direction(direction);
    let injection = client.inject(spec.on(&stage.target))?;
    let round = victim.round(100, 100)?;
    ensure!(round.arrived.len() == 100 && round.arrived.is_sorted(), "{round:?}");
    // The last has waited for those before it: a second, less what the burst saves.
    let last = round.late_us.last().copied().unwrap_or_default();
    ensure!((900_000..1_500_000).contains(&last), "the last was {last} us late: {round:?}");
    let middle = round.late_us[49];
    ensure!((400_000..900_000).contains(&middle), "the 50th was {middle} us late: {round:?}");
    bystander.all_arrive()?;
    balanced(&client.recover(&injection.id)?)?;
    let round = victim.round(100, 100)?;
    ensure!(round.late_us.iter().all(|late| *late < 400_000), "{round:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn too_much_is_dropped() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network rate")?;
    let victim = flow(&stage, Direction::Out)?;
    let burst = v1::NetworkRate { burst_bytes: Some(10 * WIRE), ..line(Excess::Drop(true)) };
    let injection = client.inject(Network::from(burst).on(&stage.target))?;
    let round = victim.round(100, 10)?;
    let count = round.arrived.len();
    // The burst, and what the line takes while they are sent.
    ensure!((10..40).contains(&count) && round.failed.is_empty(), "{count} passed: {round:?}");
    ensure!(round.late_us.iter().all(|late| *late < 400_000), "{round:?}");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn each_connection_has_its_own_line() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network rate")?;
    let (one, other) = (flow(&stage, Direction::Out)?, flow(&stage, Direction::Out)?);
    let each = v1::NetworkRate { per_connection: true, ..line(Excess::QueueBytes(1 << 20)) };
    let injection = client.inject(Network::from(each).on(&stage.target))?;
    let last = |flow: &Datagrams<'_>| {
        let round = flow.round(50, 50)?;
        Ok::<_, anyhow::Error>(round.late_us.last().copied().unwrap_or_default())
    };
    // With a line for both, the second's packets would wait for the first's as well.
    for flow in [&one, &other] {
        let last = last(flow)?;
        ensure!((400_000..900_000).contains(&last), "the last was {last} us late");
    }
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
