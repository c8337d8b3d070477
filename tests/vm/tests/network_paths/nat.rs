//! Addresses that are translated on the way, in the target's own network namespace: a fault sees packets as they are at
//! the interface, and what it says back is translated as any answer is.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Direction, RejectAnswer, network_reject::With};
use nix::errno::Errno;

use super::{PATIENCE, moves_much};
use crate::{
    harness::{
        Connections, Datagrams, Family, Loss, Network, Place, Probe as _, Stage, delay, needs,
        needs_programs, net, phases, succeeds, tests,
    },
    network_delay::{LATENCY, all_late, all_soon},
};

tests![the_source, the_destination, onto_the_loopback];

/// What the far end takes the near end for.
const TRANSLATED: &str = "10.77.0.9";
/// What the near end takes the far end for.
const VIRTUAL: &str = "10.77.0.100";

fn the_source() -> Result<()> {
    let rule = format!("ip saddr 10.77.0.1 ip daddr 10.77.0.2 snat to {TRANSLATED}");
    behind(&format!("chain out {{ type nat hook postrouting priority 100; {rule}; }}"), |stage| {
        stage.net.near.netlink().add_address("near0", TRANSLATED.parse()?, 24)?;
        Ok(net::far(Family::V4))
    })
}

fn the_destination() -> Result<()> {
    let rule = format!("ip daddr {VIRTUAL} dnat to 10.77.0.2");
    behind(&format!("chain out {{ type nat hook output priority -100; {rule}; }}"), |_| {
        Ok(VIRTUAL.parse()?)
    })
}

/// Everything works for connections to a server, which is where `prepare` says.
fn behind(chain: &str, prepare: fn(&Stage) -> Result<IpAddr>) -> Result<()> {
    needs_programs()?;
    let (mut stage, daemon) = Stage::served()?;
    let place = Place::default().netns(&stage.net.near)?;
    succeeds(place, &["nft", &format!("table ip nat {{ {chain}; }}")])?;
    let address = prepare(&stage)?;
    stage.begin_here()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    needs(&client, "network reject")?;
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?.local;
    let server = SocketAddr::new(address, server.port());
    let to_server = |name, agent| Connections::new(name, agent, server);
    let (victim, bystander) =
        (to_server("victim", &stage.victim), to_server("bystander", &stage.bystander));
    moves_much(&stage, server)?;
    for direction in [Direction::Out, Direction::In] {
        // The other end's own address, at the interface and at the socket.
        let is_at_socket = direction == Direction::In;
        let remote = if is_at_socket { address } else { net::far(Family::V4) }.to_string();
        let loss = Loss::all().direction(direction).remote(&[&remote]).on(&stage.target);
        phases(&client, loss, &[&victim], &[&bystander])?;
    }

    let receiver = stage.far.udp(net::far(Family::V4))?;
    let to = SocketAddr::new(address, receiver.local.port());
    let [late, soon] = [&stage.victim, &stage.bystander].map(|agent| {
        let sender = agent.udp(net::near(Family::V4))?;
        let to_receiver = (&stage.far, receiver);
        Ok::<_, anyhow::Error>(Datagrams::new(
            &stage,
            "datagrams",
            (agent, sender),
            to_receiver,
            to,
        ))
    });
    let (late, soon) = (late?, soon?);
    let held = client.inject(Network::from(delay(LATENCY)).on(&stage.target))?;
    all_late(&late)?;
    all_soon(&soon)?;
    client.recover(&held.id)?;
    let held = Network::from(delay(Duration::from_millis(20))).on(&stage.target);
    let held = client.inject(held)?;
    moves_much(&stage, server)?;
    client.recover(&held.id)?;

    for answer in [RejectAnswer::Reset, RejectAnswer::PortUnreachable] {
        let reject =
            v1::NetworkReject { with: Some(With::Answer(answer.into())), ..Default::default() };
        let reject = client.inject(Network::from(reject).on(&stage.target))?;
        let refusal = stage.victim.refusal(server, PATIENCE)?;
        ensure!(refusal == Some(Errno::ECONNREFUSED), "{answer:?}: {refusal:?}");
        bystander.all_arrive()?;
        client.recover(&reject.id)?;
    }
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// As a service mesh does. What stays in the namespace and is translated has no way back from where packets wait: it
/// goes at once, and what is not translated waits.
fn onto_the_loopback() -> Result<()> {
    needs_programs()?;
    let (mut stage, daemon) = Stage::served()?;
    stage.net.near.netlink().set_up("lo")?;
    let place = Place::default().netns(&stage.net.near)?;
    let rule = format!("ip daddr {VIRTUAL} dnat to 127.0.0.1");
    let chain = format!("chain out {{ type nat hook output priority -100; {rule}; }}");
    succeeds(place, &["nft", &format!("table ip nat {{ {chain}; }}")])?;
    stage.begin_here()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let home = net::loopback(Family::V4);
    let server = stage.bystander.listen(SocketAddr::new(home, 0))?.local;
    let translated = SocketAddr::new(VIRTUAL.parse()?, server.port());
    let plain = stage.udp("to the loopback", (&stage.victim, home), (&stage.bystander, home))?;
    let soon = Connections::new("translated", &stage.victim, translated);
    soon.all_arrive()?;
    for direction in [Direction::Out, Direction::In, Direction::Both] {
        let held = Network::from(delay(LATENCY)).direction(direction).on(&stage.target);
        let held = client.inject(held)?;
        soon.all_arrive()?;
        let connection = stage.victim.connect(translated, PATIENCE)?;
        let connection = connection.context("no connection")?;
        let exchanged = stage.victim.exchange(connection, 100_000, PATIENCE)?;
        ensure!(exchanged.complete, "{direction:?}: {exchanged:?}");
        stage.victim.close(connection)?;
        let expected = if direction == Direction::In { all_soon } else { all_late };
        expected(&plain)?;
        client.recover(&held.id)?;
    }
    soon.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
