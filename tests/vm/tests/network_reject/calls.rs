//! Calls that fail before there is a packet.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Protocol, network_reject::With};
use nix::errno::Errno;

use super::{connects, is_refused, server, with};
use crate::harness::{
    Agent, Client, Family, Network, Place, Settings, Stage, Transport, active, balanced, needs,
    net, poll, refused, tests,
};

tests![
    connecting_fails_as_it_should,
    sending_without_a_connection_fails,
    an_old_kernel_says_what_it_cannot,
    an_ipv4_address_in_ipv6_is_one_of_ipv4,
    what_is_nested_is_asked_from_above,
    a_budget_of_calls_is_exact,
    a_share_of_calls,
    only_calls_that_match,
    a_daemon_that_comes_back_goes_on,
];

fn connect(errno: &str) -> Network {
    with(With::Connect(errno.into()))
}

/// Every errno that this kernel can say.
fn errnos(client: &Client) -> Result<Vec<(&'static str, Errno)>> {
    let all = [
        ("EPERM", Errno::EPERM),
        ("ECONNREFUSED", Errno::ECONNREFUSED),
        ("ETIMEDOUT", Errno::ETIMEDOUT),
        ("EHOSTUNREACH", Errno::EHOSTUNREACH),
        ("ENETUNREACH", Errno::ENETUNREACH),
        ("EACCES", Errno::EACCES),
        ("EADDRNOTAVAIL", Errno::EADDRNOTAVAIL),
    ];
    let some = if caveat(client)?.contains("EPERM only") { 1 } else { all.len() };
    Ok(all[..some].to_vec())
}

fn caveat(client: &Client) -> Result<String> {
    let mut faults = client.capabilities()?.faults.into_iter();
    let connect = faults.find(|one| one.fault == "network reject" && one.aspect == "connect");
    Ok(connect.context("nothing is said of `connect`")?.caveats.join("; "))
}

fn connecting_fails_as_it_should() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?;
        connects(&stage.victim, server.local)?;
        let mut opened = 1;
        for (name, errno) in errnos(&client)? {
            let injection = client.inject(connect(name).on(&stage.target))?;
            is_refused(&stage.victim, server.local, errno)?;
            connects(&stage.bystander, server.local)?;
            opened += 1;
            poll::until_ok("the bystander's connection, and no other", super::SOON, || {
                let accepted = stage.far.served(server)?.accepted;
                ensure!(accepted == opened, "{accepted} connections came, not {opened}");
                Ok(())
            })?;
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!(counters.fired == 1 && counters.matched == 1, "{counters:?}");
            connects(&stage.victim, server.local)?;
            opened += 1;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn sending_without_a_connection_fails() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let receiver = stage.far.udp(net::far(family))?;
        let sender = stage.victim.udp(net::near(family))?;
        let other = stage.flow(&stage.bystander, Transport::Udp, family, v1::Direction::Out)?;
        for (name, errno) in errnos(&client)? {
            let injection = client.inject(connect(name).on(&stage.target))?;
            let sent = stage.victim.send(sender, receiver.local, 0, 3)?;
            ensure!(sent.ok == 0 && sent.failed == [errno as i32; 3], "{name}: {sent:?}");
            other.all_arrive()?;
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!(counters.fired == 3, "{counters:?}");
            let sent = stage.victim.send(sender, receiver.local, 0, 1)?;
            ensure!(sent.ok == 1, "{sent:?}");
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_old_kernel_says_what_it_cannot() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let answer = client.inject(connect("ETIMEDOUT").on(&stage.target));
    if caveat(&client)?.contains("EPERM only") {
        let status = refused(answer, "UNSUPPORTED")?;
        ensure!(status.message().contains("EPERM"), "{status:?}");
    } else {
        client.recover(&answer?.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_ipv4_address_in_ipv6_is_one_of_ipv4() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    crate::harness::skip::needs_ipv6()?;
    let server = server(&stage)?;
    let IpAddr::V4(address) = server.ip() else { anyhow::bail!("no IPv4 address") };
    let mapped = SocketAddr::new(address.to_ipv6_mapped().into(), server.port());
    connects(&stage.victim, mapped)?;
    let injection = client.inject(connect("EPERM").remote(&["10.77.0.2"]).on(&stage.target))?;
    is_refused(&stage.victim, mapped, Errno::EPERM)?;
    connects(&stage.bystander, mapped)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_nested_is_asked_from_above() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let inner = stage.target.child("inner")?;
    let agent = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    let server = server(&stage)?;
    let inside = client.inject(connect("EPERM").on(&inner))?;
    is_refused(&agent, server, Errno::EPERM)?;
    connects(&stage.victim, server)?;
    let above = client.inject(connect("EPERM").on(&stage.target))?;
    is_refused(&agent, server, Errno::EPERM)?;
    is_refused(&stage.victim, server, Errno::EPERM)?;
    let counters = balanced(&client.get(&inside.id)?)?;
    ensure!(counters.fired == 1, "asked although the one above had fired: {counters:?}");
    let counters = balanced(&client.recover(&above.id)?)?;
    ensure!(counters.fired == 2, "{counters:?}");
    is_refused(&agent, server, Errno::EPERM)?;
    connects(&stage.victim, server)?;
    client.recover(&inside.id)?;
    connects(&agent, server)?;
    drop(agent);
    drop(inner);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_budget_of_calls_is_exact() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let server = server(&stage)?;
    let injection = client.inject(connect("EPERM").times(3).on(&stage.target))?;
    for _ in 0..3 {
        is_refused(&stage.victim, server, Errno::EPERM)?;
    }
    connects(&stage.victim, server)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.over_budget == 1, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_of_calls() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let server = server(&stage)?;
    let half = || {
        let with = Some(With::Connect("EPERM".into()));
        let half = v1::NetworkReject { with, percent: Some(50.0), ..Default::default() };
        Network::from(half).seed(7).on(&stage.target)
    };
    let round = || {
        let injection = client.inject(half())?;
        let tries = (0..40).map(|_| stage.victim.refusal(server, super::SOON));
        let refusals = tries.collect::<Result<Vec<_>>>()?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == 40, "{counters:?}");
        Ok(refusals)
    };
    let first = round()?;
    let refused = first.iter().flatten().count();
    ensure!((8..=32).contains(&refused), "{refused} of 40 were refused");
    ensure!(round()? == first, "the same seed gave something else");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_calls_that_match() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let (closed, open) = (server(&stage)?, server(&stage)?);
    let receiver = stage.far.udp(net::far(Family::V4))?;
    let sender = stage.victim.udp(net::near(Family::V4))?;
    let spec = connect("EPERM").remote(&["10.77.0.0/24"]).protocol(Protocol::Tcp);
    let spec = spec.remote_port(closed.port()).remote_port(receiver.local.port());
    let injection = client.inject(spec.on(&stage.target))?;
    is_refused(&stage.victim, closed, Errno::EPERM)?;
    connects(&stage.victim, open)?;
    let sent = stage.victim.send(sender, receiver.local, 0, 1)?;
    ensure!(sent.ok == 1, "{sent:?}");
    client.recover(&injection.id)?;
    connects(&stage.victim, closed)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_comes_back_goes_on() -> Result<()> {
    let stage = Stage::new()?;
    let settings = || Settings { lease: Some(Duration::from_secs(20)), ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    needs(&daemon.client()?, "network reject")?;
    let server = server(&stage)?;
    let injection = daemon.client()?.inject(connect("EPERM").on(&stage.target))?;
    is_refused(&stage.victim, server, Errno::EPERM)?;
    daemon.kill()?;
    is_refused(&stage.victim, server, Errno::EPERM)?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    active(&client.get(&injection.id)?)?;
    is_refused(&stage.victim, server, Errno::EPERM)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3, "{counters:?}");
    connects(&stage.victim, server)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
