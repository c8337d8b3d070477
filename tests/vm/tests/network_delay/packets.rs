//! Packets that are not like others wait too: pieces, those for a group, those of a socket that changed hands; many, and
//! long.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::Direction;
use nix::libc;

use super::{LATENCY, all_late, all_soon};
use crate::{
    harness::{
        Agent, Datagrams, Family, NetNs, Network, Raw, Settings, Socket, Stage, delay,
        holds_in_memory, metrics, needs, net, poll, skip, tests,
    },
    victim::UdpOptions,
};

tests![
    pieces_wait_and_arrive_whole,
    a_group_waits,
    a_socket_in_other_hands,
    many_for_a_minute,
    what_there_is_no_room_for_is_lost,
];

/// Three pieces on a wire that takes 1,500 bytes.
const SIZE: usize = 4_000;

fn pieces_wait_and_arrive_whole() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    for family in net::families() {
        let ends = ((&stage.victim, net::near(family)), (&stage.far, net::far(family)));
        let flow = stage.udp("pieces", ends.0, ends.1)?.sized(SIZE);
        all_soon(&flow)?;
        let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
        all_late(&flow)?;
        client.recover(&injection.id)?;
        all_soon(&flow)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A socket that gets what is sent to a group at the interface of an address, and where to send it.
pub(super) fn joined(agent: &Agent, group: Ipv4Addr, at: Ipv4Addr) -> Result<(Socket, SocketAddr)> {
    let options = UdpOptions { group: Some((group, at)), ..UdpOptions::default() };
    let socket = agent.udp_with(SocketAddr::new(group.into(), 0), options)?;
    Ok((socket, SocketAddr::new(group.into(), socket.local.port())))
}

fn a_group_waits() -> Result<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let IpAddr::V4(at) = net::far(Family::V4) else { return skip("IPv4 is what this is about") };
    let (receiver, group) = joined(&stage.far, GROUP, at)?;
    let to_group = |agent: &'_ Agent| agent.udp(net::near(Family::V4));
    let (sender, other) = (to_group(&stage.victim)?, to_group(&stage.bystander)?);
    let to = (&stage.far, receiver);
    let victim = Datagrams::new(&stage, "victim to a group", (&stage.victim, sender), to, group);
    let bystander =
        Datagrams::new(&stage, "bystander to a group", (&stage.bystander, other), to, group);
    all_soon(&victim)?;
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&victim)?;
    all_soon(&bystander)?;
    client.recover(&injection.id)?;
    all_soon(&victim)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Datagrams to the far end over a socket that one process made and another has.
fn passed<'a>(stage: &'a Stage, from: &Agent, to: &'a Agent) -> Result<Datagrams<'a>> {
    let receiver = stage.far.udp(net::far(Family::V4))?;
    let socket = to.take_over(from, from.udp(net::near(Family::V4))?)?;
    let ends = ((to, socket), (&stage.far, receiver));
    Ok(Datagrams::new(stage, "passed on", ends.0, ends.1, receiver.local))
}

/// Whose packet it is follows from where its socket was made, not from who has that.
fn a_socket_in_other_hands() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let given = passed(&stage, &stage.victim, &stage.bystander)?;
    let got = passed(&stage, &stage.bystander, &stage.victim)?;
    all_soon(&given)?;
    let injection = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&given)?;
    all_soon(&got)?;
    client.recover(&injection.id)?;
    all_soon(&given)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// None is dropped for want of room or patience.
fn many_for_a_minute() -> Result<()> {
    const MINUTE: Duration = Duration::from_secs(60);
    const COUNT: usize = 10_000;
    if !skip::own_machine() {
        return skip("it takes a minute; a VM's clock does not wait");
    }
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (sender, receiver) =
        (stage.victim.udp(net::near(Family::V4))?, stage.far.udp(net::far(Family::V4))?);
    let spec = Network::from(delay(MINUTE)).direction(Direction::Out).lasting(MINUTE * 3);
    let injection = client.inject(spec.on(&stage.target))?;
    let sent = stage.victim.send(sender, receiver.local, 0, COUNT as u32)?;
    ensure!(sent.failed.is_empty(), "{} failed", sent.failed.len());
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let missing = COUNT - numbers.len();
        for arrival in stage.far.arrivals(receiver, missing, MINUTE / 2)? {
            let early = arrival.late_us < MINUTE.as_micros() as i64;
            ensure!(!early && arrival.is_whole, "{arrival:?}");
            numbers.push(arrival.number);
        }
        if numbers.len() == COUNT {
            break;
        }
    }
    ensure!(numbers.len() == COUNT && numbers.is_sorted(), "{} arrived", numbers.len());
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// What waits in the qdiscs of a namespace, in bytes.
fn backlog(netns: &NetNs) -> Result<u64> {
    let qdiscs = netns.netlink().qdiscs()?;
    // Of `struct tc_stats` the last number.
    let waiting = |raw: &Raw| raw.attribute(libc::TCA_STATS)?.get(32..36)?.try_into().ok();
    Ok(qdiscs.iter().filter_map(waiting).map(|bytes| u64::from(u32::from_ne_bytes(bytes))).sum())
}

/// What a daemon tells of the packets that are held.
fn held(address: SocketAddr, what: &str) -> Result<u64> {
    let name = format!("chaos_held_{what}");
    let metrics = metrics::metrics(address)?;
    let found = metrics.into_iter().find(|(known, _)| *known == name);
    Ok(found.with_context(|| format!("no metric {name}"))?.1 as u64)
}

/// Memory is bounded, whatever is sent and however late that is to be.
fn what_there_is_no_room_for_is_lost() -> Result<()> {
    const ROOM: u64 = 256 << 20;
    const SIZE: u64 = 65_000;
    const LONG: Duration = Duration::from_secs(20);
    if !skip::own_machine() {
        return skip("it takes 256 MiB of the kernel's memory");
    }
    let mut stage = Stage::new()?;
    stage.net.near.netlink().set_up("lo")?;
    stage.begin_here()?;
    let address = metrics::address()?;
    let daemon = stage.daemon_with(Settings { metrics: Some(address), ..Settings::default() })?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let is_in_kernel = !holds_in_memory(&client)?;
    let home = net::loopback(Family::V4);
    let (sender, receiver) = (stage.victim.udp(home)?, stage.bystander.udp(home)?);
    let spec = Network::from(delay(LONG)).direction(Direction::Out);
    let injection = client.inject(spec.on(&stage.target))?;
    let mut sent = 0;
    while sent < ROOM * 5 / 4 / SIZE {
        let to = Some(receiver.local);
        let batch = stage.victim.send_sized(sender, to, sent, 100, SIZE as usize)?;
        ensure!(batch.failed.is_empty(), "{} failed", batch.failed.len());
        sent += 100;
    }
    if is_in_kernel {
        let waiting = backlog(&stage.net.near)?;
        ensure!((ROOM - SIZE..ROOM + 2 * SIZE).contains(&waiting), "{waiting} bytes wait");
    }
    poll::until_ok("every packet to wait or be lost", LONG / 4, || {
        let (waiting, lost) = (held(address, "packets")?, held(address, "packets_lost_total")?);
        ensure!(waiting + lost == sent && lost > 0, "of {sent} {waiting} wait, {lost} are lost");
        ensure!(waiting * SIZE > ROOM - ROOM / 100, "{waiting} wait");
        Ok(())
    })?;
    client.recover(&injection.id)?;
    all_soon(&stage.victim_udp()?)?;
    poll::until_ok("what waits to leave", LONG * 3, || {
        let waiting = held(address, "packets")?;
        ensure!(waiting == 0, "{waiting} packets wait");
        Ok(())
    })?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
