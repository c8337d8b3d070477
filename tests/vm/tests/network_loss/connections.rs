//! Which packets match by what they say of themselves, and by what was before them on their connection.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Connections, Direction, Protocol, volume::Volume};

use super::{filters::hits, interfaces::becomes_lossy};
use crate::{
    harness::{Agent, Client, Datagrams, Family, Loss, Probe, Socket, Stage, balanced, net, tests},
    victim::UdpOptions,
};

tests![
    service_classes_out,
    service_classes_in,
    an_interface,
    a_share_of_the_connections_out,
    a_share_of_the_connections_in,
    the_first_packets_or_what_is_after_them,
    new_connections,
    established_connections,
    ends_that_meet_again,
];

/// Who sends, and who receives.
fn ends(stage: &Stage, direction: Direction) -> (&Agent, &Agent) {
    if direction == Direction::In {
        (&stage.far, &stage.victim)
    } else {
        (&stage.victim, &stage.far)
    }
}

/// UDP of a size, sent with these options.
fn udp<'a>(
    stage: &'a Stage,
    direction: Direction,
    family: Family,
    options: UdpOptions,
) -> Result<Datagrams<'a>> {
    let (from, to) = ends(stage, direction);
    let (mut from_ip, mut to_ip) = (net::near(family), net::far(family));
    if direction == Direction::In {
        (from_ip, to_ip) = (to_ip, from_ip);
    }
    let sender = from.udp_with(SocketAddr::new(from_ip, 0), options)?;
    let receiver = to.udp(to_ip)?;
    let name = format!("{family:?} {options:?}");
    Ok(Datagrams::new(stage, name, (from, sender), (to, receiver), receiver.local))
}

fn service_classes(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let of =
            |dscp| udp(&stage, direction, family, UdpOptions { dscp, ..UdpOptions::default() });
        let (none, expedited, last) = (of(0)?, of(46)?, of(63)?);
        for (asked, is_hit) in [
            (&[46][..], [false, true, false]),
            (&[0], [true, false, false]),
            (&[63, 10, 46], [false, true, true]),
            (&[10, 47], [false, false, false]),
        ] {
            let loss = Loss::all().direction(direction).only(|filter| filter.dscp = asked.to_vec());
            let flows =
                [(&none as _, is_hit[0]), (&expedited as _, is_hit[1]), (&last as _, is_hit[2])];
            hits(&client, &stage, loss, &flows)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn service_classes_out() -> Result<()> {
    service_classes(Direction::Out)
}

fn service_classes_in() -> Result<()> {
    service_classes(Direction::In)
}

/// By its name, also when it comes later.
fn an_interface() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let through = |name: &str| {
        let loss = Loss::all().direction(Direction::Both);
        loss.only(|filter| filter.interface = name.into())
    };
    let first = [
        udp(&stage, Direction::Out, Family::V4, UdpOptions::default())?,
        udp(&stage, Direction::In, Family::V4, UdpOptions::default())?,
    ];
    hits(&client, &stage, through("near0"), &[(&first[0], true), (&first[1], true)])?;
    hits(&client, &stage, through("near1"), &[(&first[0], false), (&first[1], false)])?;

    let injection = client.inject(through("near1").on(&stage.target))?;
    net::wire(&stage.net.near, "near1", &stage.net.far, "far2", 78)?;
    let (near, far) = (net::address(Family::V4, 78, 1), net::address(Family::V4, 78, 2));
    let second = [
        stage.udp("near1, out", (&stage.victim, near), (&stage.far, far))?,
        stage.udp("near1, in", (&stage.far, far), (&stage.victim, near))?,
    ];
    second.iter().try_for_each(becomes_lossy)?;
    first.iter().try_for_each(|flow| flow.all_arrive())?;
    client.recover(&injection.id)?;
    for (name, one, two) in [("near0", true, false), ("near1", false, true)] {
        let first = first.iter().map(|flow| (flow as &dyn Probe, one));
        let second = second.iter().map(|flow| (flow as &dyn Probe, two));
        let flows: Vec<_> = first.chain(second).collect();
        hits(&client, &stage, through(name), &flows)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Connections of a test, and packets of each.
const MANY: u16 = 200;
const EACH: u32 = 3;

/// Sends packets on many connections; the numbers of those that lost all of them. None loses some.
fn hit_of_many(
    stage: &Stage,
    (from, senders): (&Agent, &[Socket]),
    (to, receiver): (&Agent, Socket),
) -> Result<BTreeSet<usize>> {
    to.take(receiver)?;
    for (number, sender) in senders.iter().enumerate() {
        let sent = from.send(*sender, receiver.local, number as u64, 1)?;
        ensure!(sent.failed.is_empty(), "{sent:?}");
        for _ in 1..EACH {
            from.send(*sender, receiver.local, number as u64, 1)?;
        }
        if number % 50 == 49 {
            stage.settle()?;
        }
    }
    stage.settle()?;
    let arrived = to.take(receiver)?;
    let mut hit = BTreeSet::new();
    for number in 0..senders.len() {
        let count = arrived.iter().filter(|other| **other == number as u64).count();
        ensure!(count == 0 || count == EACH as usize, "{count} of {EACH} of {number} arrived");
        if count == 0 {
            hit.insert(number);
        }
    }
    Ok(hit)
}

fn a_share_of_the_connections(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (from, to) = ends(&stage, direction);
    for family in net::families() {
        let (mut from_ip, mut to_ip) = (net::near(family), net::far(family));
        if direction == Direction::In {
            (from_ip, to_ip) = (to_ip, from_ip);
        }
        // Of given ports, so that the same are chosen whenever this runs.
        let open = |n| from.udp_with(SocketAddr::new(from_ip, 6000 + n), UdpOptions::default());
        let senders = (0..MANY).map(open).collect::<Result<Vec<_>>>()?;
        let receiver = to.udp_with(SocketAddr::new(to_ip, 7000), UdpOptions::default())?;
        let lose = |seed, percent| {
            let loss = Loss::all().direction(direction).seed(seed);
            let loss = loss.only(|filter| filter.connection_percent = Some(percent));
            let injection = client.inject(loss.on(&stage.target))?;
            let hit = hit_of_many(&stage, (from, &senders), (to, receiver))?;
            let counters = balanced(&client.recover(&injection.id)?)?;
            let fired = hit.len() as u64 * u64::from(EACH);
            ensure!(counters.fired == fired, "{fired} were lost, {counters:?}");
            Ok::<_, anyhow::Error>(hit)
        };
        let (first, second, other) = (lose(7, 30.0)?, lose(7, 30.0)?, lose(8, 30.0)?);
        ensure!(first == second, "the same seed chose {first:?}, then {second:?}");
        ensure!(first != other, "another seed chose the same");
        for hit in [&first, &other] {
            // The 99 % interval of a binomial distribution.
            let (mean, deviation) = (f64::from(MANY) * 0.3, (f64::from(MANY) * 0.3 * 0.7).sqrt());
            let count = hit.len() as f64;
            ensure!((count - mean).abs() <= 2.576 * deviation, "{count} of {MANY} were hit");
        }
        ensure!(lose(7, 100.0)?.len() == usize::from(MANY), "100 % are not all");
        for sender in senders {
            from.close(sender)?;
        }
        to.close(receiver)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_of_the_connections_out() -> Result<()> {
    a_share_of_the_connections(Direction::Out)
}

fn a_share_of_the_connections_in() -> Result<()> {
    a_share_of_the_connections(Direction::In)
}

/// Of each connection for itself, and counted anew by each fault.
fn the_first_packets_or_what_is_after_them() -> Result<()> {
    const COUNT: u32 = 20;
    /// Bytes of a packet, with the headers of IP and UDP.
    const SIZE: u64 = 100;
    let volume = |volume| Some(v1::Volume { volume: Some(volume) });
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for (family, direction) in net::families()
        .into_iter()
        .flat_map(|family| [(family, Direction::Out), (family, Direction::In)])
    {
        let headers = if family == Family::V4 { 28 } else { 48 };
        let flow = || {
            let flow = udp(&stage, direction, family, UdpOptions::default())?;
            Ok::<_, anyhow::Error>(flow.sized(SIZE as usize - headers))
        };
        let flows = [flow()?, flow()?];
        for (first, after, from, until) in [
            (volume(Volume::Packets(5)), None, 0, 5),
            (None, volume(Volume::Packets(5)), 5, COUNT),
            // What begins within the first bytes is of them.
            (volume(Volume::Bytes(5 * SIZE)), None, 0, 5),
            (volume(Volume::Bytes(5 * SIZE + 1)), None, 0, 6),
            (None, volume(Volume::Bytes(5 * SIZE)), 5, COUNT),
            (None, volume(Volume::Bytes(5 * SIZE + 1)), 6, COUNT),
        ] {
            let loss = Loss::all().direction(direction).only(|filter| {
                (filter.first, filter.after) = (first, after);
            });
            let what = format!("{loss:?}");
            let injection = client.inject(loss.on(&stage.target))?;
            for flow in &flows {
                let round = flow.round(COUNT, COUNT - (until - from))?;
                let expected: Vec<bool> = (0..COUNT).map(|n| from <= n && n < until).collect();
                ensure!(round.lost() == expected, "{what}: {round:?}");
            }
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!(counters.fired == 2 * u64::from(until - from), "{what}: {counters:?}");
            flows.iter().try_for_each(|flow| flow.all_arrive())?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The same ends, one connection after another: each has a first packet.
fn ends_that_meet_again() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let first = Some(v1::Volume { volume: Some(Volume::Packets(1)) });
    let loss = Loss::all().protocol(Protocol::Tcp).only(|filter| {
        filter.first = first;
        filter.connections = Connections::New.into();
    });
    let injection = client.inject(loss.on(&stage.target))?;
    // Nobody listens: every attempt is refused, once its SYN was sent again.
    let nobody = SocketAddr::new(net::far(Family::V4), 9);
    let own = SocketAddr::new(net::near(Family::V4), 33_333);
    for round in 1..=3 {
        let refused = stage.victim.connect_from(Some(own), nobody, PATIENCE);
        ensure!(refused.is_err(), "attempt {round}: {refused:?}");
        let counters = balanced(&client.get(&injection.id)?)?;
        ensure!(counters.fired == round, "after {round} attempts: {counters:?}");
    }
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// How long something is tried over TCP that should fail.
const BRIEFLY: Duration = Duration::from_millis(1300);
/// And what should not.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether bytes go there and back on a connection.
fn works(agent: &Agent, socket: Socket, within: Duration) -> Result<bool> {
    Ok(agent.exchange(socket, 1000, within)?.complete)
}

/// A connection from before a fault and one from during it; the fault is about one of them.
fn old_and_young(
    client: &Client,
    stage: &Stage,
    family: Family,
    (wanted, direction): (Connections, Direction),
    (agent, server): (&Agent, SocketAddr),
) -> Result<()> {
    let old = agent.connect(server, PATIENCE)?.context("no connection before the fault")?;
    ensure!(works(agent, old, PATIENCE)?, "the connection does not work");
    let loss = Loss::all().direction(direction);
    let loss = loss.only(|filter| filter.connections = wanted.into());
    let injection = client.inject(loss.on(&stage.target))?;
    // What is no connection is neither.
    let datagrams = udp(stage, direction, family, UdpOptions::default())?;
    datagrams.all_arrive()?;
    if wanted == Connections::New {
        ensure!(agent.connect(server, BRIEFLY)?.is_none(), "a new connection came about");
        ensure!(works(agent, old, PATIENCE)?, "the old connection was hit");
    } else {
        let young = agent.connect(server, PATIENCE)?.context("the new connection was hit")?;
        ensure!(works(agent, young, PATIENCE)?, "the new connection was hit");
        ensure!(!works(agent, old, BRIEFLY)?, "the old connection was spared");
        ensure!(works(agent, young, PATIENCE)?, "the new connection was hit later");
        agent.close(young)?;
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired > 0, "{counters:?}");
    ensure!(works(agent, old, PATIENCE)?, "the old connection is broken");
    let after = agent.connect(server, PATIENCE)?.context("no connection after the fault")?;
    ensure!(works(agent, after, PATIENCE)?, "the connection afterwards does not work");
    agent.close(after)?;
    agent.close(old)
}

fn connections(wanted: Connections) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let far = stage.far.listen(SocketAddr::new(net::far(family), 0))?;
        let near = stage.victim.listen(SocketAddr::new(net::near(family), 0))?;
        for direction in [Direction::Out, Direction::In, Direction::Both] {
            for ends in [(&stage.victim, far.local), (&stage.far, near.local)] {
                let is_client = std::ptr::eq(ends.0, &stage.victim);
                old_and_young(&client, &stage, family, (wanted, direction), ends)
                    .with_context(|| format!("{family:?} {direction:?}, client: {is_client}"))?;
            }
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn new_connections() -> Result<()> {
    connections(Connections::New)
}

fn established_connections() -> Result<()> {
    connections(Connections::Established)
}
