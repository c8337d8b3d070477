//! Which packets of a target match.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, Protocol};

use crate::{
    harness::{
        Client, Datagrams, Family, Loss, Network, Probe, Stage, Transport, net, skip, tests,
    },
    victim::UdpOptions,
};

tests![
    remote_addresses,
    remote_addresses_in,
    a_thousand_addresses,
    ports_out,
    ports_in,
    protocols,
    a_mapped_socket_speaks_ipv4,
];

/// Checks which of the flows a loss hits.
pub(super) fn hits(
    client: &Client,
    stage: &Stage,
    loss: Network,
    flows: &[(&dyn Probe, bool)],
) -> Result<()> {
    let what = format!("{loss:?}");
    let injection = client.inject(loss.on(&stage.target)).with_context(|| what.clone())?;
    for (flow, is_hit) in flows {
        let result = if *is_hit { flow.none_arrive() } else { flow.all_arrive() };
        result.with_context(|| what.clone())?;
    }
    client.recover(&injection.id)?;
    Ok(())
}

/// Addresses of the far end: 10.77.0.2 to .4, then fd77::2 to ::4.
fn far_ends() -> Vec<(Family, u8)> {
    let of = |family| (2..=4).map(move |last| (family, last));
    net::families().into_iter().flat_map(of).collect()
}

/// Remote, except, and which of the far ends match.
type Row = (&'static [&'static str], &'static [&'static str], [bool; 6]);

const REMOTES: &[Row] = &[
    (&[], &[], [true, true, true, true, true, true]),
    (&["10.77.0.2"], &[], [true, false, false, false, false, false]),
    (&["10.77.0.0/24"], &["10.77.0.3"], [true, false, true, false, false, false]),
    (&["10.0.0.0/8", "10.77.0.3"], &["10.77.0.0/24"], [false, true, false, false, false, false]),
    (&[], &["10.77.0.0/24"], [false, false, false, true, true, true]),
    (&["0.0.0.0/0"], &[], [true, true, true, false, false, false]),
    (&["::/0"], &[], [false, false, false, true, true, true]),
    (&["fd77::/64"], &["fd77::2/127"], [false, false, false, false, false, true]),
    (&["fd00::/8", "fd77::4"], &["fd77::/16"], [false, false, false, false, false, true]),
    (&["::ffff:10.77.0.4"], &[], [false, false, true, false, false, false]),
    (&["10.77.0.2/31", "fd77::4"], &[], [true, true, false, false, false, true]),
    (&["192.0.2.0/24"], &[], [false, false, false, false, false, false]),
];

fn remotes(direction: Direction) -> Result<()> {
    skip::needs_ipv6()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = |(family, last)| {
        let far = (&stage.far, net::address(family, 77, last));
        let near = (&stage.victim, net::near(family));
        let name = format!("far end {family:?} {last}");
        if direction == Direction::In {
            stage.udp(name, far, near)
        } else {
            stage.udp(name, near, far)
        }
    };
    let flows = far_ends().into_iter().map(flow).collect::<Result<Vec<_>>>()?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    for (remote, except, matching) in REMOTES {
        let loss = Loss::all().direction(direction).remote(remote).except(except);
        let expected: Vec<(&dyn Probe, bool)> = flows
            .iter()
            .zip(matching)
            .map(|(flow, is_hit)| (flow as &dyn Probe, *is_hit))
            .collect();
        hits(&client, &stage, loss, &expected)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn remote_addresses() -> Result<()> {
    remotes(Direction::Out)
}

fn remote_addresses_in() -> Result<()> {
    remotes(Direction::In)
}

/// As many ranges as a fault takes; none is forgotten, and none is left behind.
fn a_thousand_addresses() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let decoys: Vec<String> =
        (0..1023).map(|n| format!("198.18.{}.{}", n / 256, n % 256)).collect();
    let mut remote: Vec<&str> = decoys.iter().map(String::as_str).collect();
    remote.push("10.77.0.3");
    let to = |last| {
        let far = (&stage.far, net::address(Family::V4, 77, last));
        stage.udp(format!("far end {last}"), (&stage.victim, net::near(Family::V4)), far)
    };
    let (listed, other) = (to(3)?, to(4)?);
    for _ in 0..2 {
        hits(&client, &stage, Loss::all().remote(&remote), &[(&listed, true), (&other, false)])?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A flow between two given ports.
fn between(
    stage: &Stage,
    direction: Direction,
    near_port: u16,
    far_port: u16,
) -> Result<Datagrams<'_>> {
    let near = SocketAddr::new(net::near(Family::V4), near_port);
    let far = SocketAddr::new(net::far(Family::V4), far_port);
    let near_socket = stage.victim.udp_with(near, UdpOptions::default())?;
    let far_socket = stage.far.udp_with(far, UdpOptions::default())?;
    let (near, far) = ((&stage.victim, near_socket), (&stage.far, far_socket));
    let name = format!("{near_port} to {far_port}");
    Ok(match direction {
        Direction::In => Datagrams::new(stage, name, far, near, near.1.local),
        Direction::Unspecified | Direction::Out | Direction::Both => {
            Datagrams::new(stage, name, near, far, far.1.local)
        }
    })
}

fn ports(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (one, two) =
        (between(&stage, direction, 6001, 7001)?, between(&stage, direction, 6002, 7002)?);
    let echo: Box<dyn Probe + '_> =
        stage.flow(&stage.victim, Transport::Icmp, Family::V4, direction)?;
    let loss = || Loss::all().direction(direction);
    let eight = (0..8).fold(loss(), |loss, n| loss.remote_ports(6990 + n * 2, 6990 + n * 2));
    for (loss, hits_one, hits_two) in [
        (loss().remote_port(7001), true, false),
        (loss().remote_port(6001), false, false),
        (loss().remote_ports(7000, 7001), true, false),
        (loss().remote_ports(7001, 7002), true, true),
        (loss().remote_ports(7002, 65535), false, true),
        (loss().remote_ports(0, 7001), true, false),
        (loss().local_ports(6001, 6001), true, false),
        (loss().local_ports(6002, 6010), false, true),
        (loss().local_ports(7001, 7001), false, false),
        (loss().remote_port(7001).local_ports(6001, 6001), true, false),
        (loss().remote_port(7001).local_ports(6002, 6002), false, false),
        (loss().remote_port(1).remote_port(7002).remote_port(9), false, true),
        // 6990, 6992 … 7004: none of ours, until the last is 7002.
        (eight, false, true),
        (loss().remote_ports(0, 65535), true, true),
    ] {
        // What has no ports does not match where ports are asked for.
        hits(&client, &stage, loss, &[(&one, hits_one), (&two, hits_two), (&*echo, false)])?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn ports_out() -> Result<()> {
    ports(Direction::Out)
}

fn ports_in() -> Result<()> {
    ports(Direction::In)
}

fn protocols() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let mut flows = Vec::new();
    for family in net::families() {
        for transport in [Transport::Tcp, Transport::Udp, Transport::Icmp] {
            flows.push((transport, stage.flow(&stage.victim, transport, family, Direction::Out)?));
        }
    }
    for (asked, matching) in [
        (&[Protocol::Tcp][..], &[Transport::Tcp][..]),
        (&[Protocol::Udp], &[Transport::Udp]),
        (&[Protocol::Icmp], &[Transport::Icmp]),
        (&[Protocol::Udp, Protocol::Icmp], &[Transport::Udp, Transport::Icmp]),
    ] {
        let loss = asked.iter().fold(Loss::all(), |loss, protocol| loss.protocol(*protocol));
        let expected: Vec<(&dyn Probe, bool)> =
            flows.iter().map(|(transport, flow)| (&**flow, matching.contains(transport))).collect();
        hits(&client, &stage, loss, &expected)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// An IPv6 socket that talks to an IPv4 address sends IPv4 packets, and is filtered as such.
fn a_mapped_socket_speaks_ipv4() -> Result<()> {
    skip::needs_ipv6()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let dual = UdpOptions { dual: true, ..UdpOptions::default() };
    let any = SocketAddr::new(net::any(Family::V6), 0);
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(Ipv4Addr::to_ipv6_mapped(&v4)),
        IpAddr::V6(v6) => IpAddr::V6(v6),
    };

    let sender = stage.victim.udp_with(any, dual)?;
    let receiver = stage.far.udp(net::far(Family::V4))?;
    let to = SocketAddr::new(mapped(net::far(Family::V4)), receiver.local.port());
    let out =
        Datagrams::new(&stage, "mapped, out", (&stage.victim, sender), (&stage.far, receiver), to);

    let receiver = stage.victim.udp_with(any, dual)?;
    let sender = stage.far.udp(net::far(Family::V4))?;
    let to = SocketAddr::new(net::near(Family::V4), receiver.local.port());
    let inward =
        Datagrams::new(&stage, "mapped, in", (&stage.far, sender), (&stage.victim, receiver), to);

    let both = [out, inward];
    both.iter().try_for_each(|flow| flow.all_arrive())?;
    let loss = || Loss::all().direction(Direction::Both);
    let wide = Ipv6Addr::UNSPECIFIED.to_string() + "/0";
    for (loss, is_hit) in [
        (loss().remote(&["10.77.0.2"]), true),
        (loss().remote(&["::ffff:10.77.0.0/120"]), true),
        (loss().remote(&[&wide]), false),
        (loss().remote(&["10.77.0.3"]), false),
        (loss().protocol(Protocol::Udp), true),
    ] {
        hits(&client, &stage, loss, &[(&both[0], is_hit), (&both[1], is_hit)])?;
    }
    ensure!(both[0].errors()?.pending == 0);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
