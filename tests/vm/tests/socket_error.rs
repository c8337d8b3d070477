//! `socket error`: what is done to sockets fails.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, Counters};
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};

use crate::harness::{
    Agent, Calls, Client, Family, Network, Place, Probe as _, Stage, active, balanced, call,
    caveats, fails, needs_aspect, net, number, outcome, refused, sockets, tests, trial, works,
};
use crate::victim::{Arg, PortOptions, UdpOptions};

const KIND: &str = "socket error";
const PATIENCE: Duration = Duration::from_secs(5);

tests![
    connecting_fails_towards_those_who_are_meant,
    binding_fails_where_it_is_meant,
    connecting_and_binding_are_drawn_together,
    making_binding_listening_and_accepting_fail,
    sending_and_receiving_fail_on_what_is_open,
    unix_sockets_are_told_apart,
    what_is_open_is_reset_when_asked,
];

/// Those of calls that pass the target's cgroup.
pub(crate) fn by_address() -> Vec<Trial> {
    macro_rules! named {
        ($($test:ident),* $(,)?) => {
            [$((stringify!($test), $test as fn() -> Result<()>)),*]
        };
    }
    let tests = named![
        connecting_fails_towards_those_who_are_meant,
        binding_fails_where_it_is_meant,
        connecting_and_binding_are_drawn_together,
        sending_is_no_connecting,
        sending_fails_where_a_receiver_is_named,
        one_rule_for_all_of_it,
        ports_are_taken_beside_it,
        what_is_nested_is_asked_from_above,
        what_pings_may_not_connect,
        what_is_not_known_there_is_refused,
    ];
    tests.map(|(name, test)| trial(module_path!(), name, test)).into()
}

/// What connecting is to fail with: old kernels know one errno there.
fn errno(client: &Client) -> Result<Errno> {
    let knows_one = caveats(client, KIND, "connect")?.contains("EPERM only");
    Ok(if knows_one { Errno::EPERM } else { Errno::ETIMEDOUT })
}

fn sending_is_no_connecting() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    let flow = stage.victim_udp()?;
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    let errno = errno(&client)?;
    let fault = sockets(&["connect"], &format!("{errno:?}"), |error| {
        error.families = vec!["ipv4".into()];
    });
    let injection = client.inject(fault.times(2).on(&stage.target))?;
    flow.all_arrive()?;
    for _ in 0..2 {
        ensure!(stage.victim.refusal(server.local, PATIENCE)? == Some(errno), "it connects");
    }
    ensure!(stage.victim.refusal(server.local, PATIENCE)?.is_none(), "the budget is used");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 3 && counters.fired == 2, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_not_known_there_is_refused() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    let errno = format!("{:?}", errno(&client)?);
    for operation in ["listen", "accept", "receive", "socket"] {
        let both = |partial: bool| {
            let fault = sockets(&["connect", operation], &errno, |error| error.partial = partial);
            fault.on(&stage.target)
        };
        let status = refused(client.inject(both(false)), "UNSUPPORTED")?;
        ensure!(status.message().contains(&format!("{operation}: ")), "{status:?}");
        let injection = client.inject(both(true))?;
        active(&injection)?;
        client.recover(&injection.id)?;
    }
    for operation in ["connect", "bind"] {
        let unix = sockets(&[operation], &errno, |error| error.families = vec!["unix".into()]);
        let status = refused(client.inject(unix.on(&stage.target)), "UNSUPPORTED")?;
        ensure!(status.message().contains("IPv4 and IPv6"), "{status:?}");
    }
    let ping = sockets(&["bind"], &errno, |error| {
        error.protocols = vec![v1::Protocol::Icmp.into()];
    });
    let status = refused(client.inject(ping.on(&stage.target)), "UNSUPPORTED")?;
    ensure!(status.message().contains("bind over icmp"), "{status:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A socket bound by somebody, closed again; or why not.
fn bound(agent: &Agent, stream: bool, at: SocketAddr, dual: bool) -> Result<Option<Errno>> {
    let options = PortOptions { dual, ..Default::default() };
    match agent.bind(stream, at, options)? {
        Ok(socket) => agent.close(socket).map(|()| None),
        Err(errno) => Ok(Some(errno)),
    }
}

fn one(port: u16) -> Vec<v1::PortRange> {
    vec![v1::PortRange { first: port.into(), last: None }]
}

fn binding_fails_where_it_is_meant() -> Result<()> {
    const PORT: u16 = 8080;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "bind")?;
    let errno = errno(&client)?;
    let word = format!("{errno:?}");
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    // Everything, the kernel's choice of a port among it.
    let injection = client.inject(sockets(&["bind"], &word, |_| {}).on(&stage.target))?;
    let mut fired = 0;
    for family in net::families() {
        for (stream, port) in [(true, 0), (false, 0), (true, PORT), (false, PORT)] {
            for address in [net::any(family), net::near(family), net::loopback(family)] {
                let at = SocketAddr::new(address, port);
                let came = bound(&stage.victim, stream, at, false)?;
                ensure!(came == Some(errno), "{at}, stream {stream}: {came:?}");
                fired += 1;
                let came = bound(&stage.bystander, stream, at, false)?;
                ensure!(came.is_none(), "the bystander, {at}, stream {stream}: {came:?}");
            }
        }
    }
    // Nobody binds who lets the kernel choose address and port.
    ensure!(stage.victim.refusal(server.local, PATIENCE)?.is_none(), "connecting is not binding");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == fired && counters.matched == fired, "{counters:?}");

    let IpAddr::V4(near) = net::near(Family::V4) else { bail!("no address of IPv4") };
    let mapped = IpAddr::V6(near.to_ipv6_mapped());
    let (near4, any4) = (IpAddr::V4(near), net::any(Family::V4));
    let [near6, any6] = [net::near(Family::V6), net::any(Family::V6)];
    type Change = fn(&mut v1::SocketError);
    let cases: [(&str, Change, [bool; 7]); 6] = [
        // Own addresses: the mapped one is of IPv4, and that of all is another one.
        (
            "remote",
            |error| error.remote = vec![net::near(Family::V4).to_string()],
            [true, true, false, false, true, false, false],
        ),
        (
            "except",
            |error| error.except = vec![net::near(Family::V4).to_string()],
            [false, false, true, true, false, true, true],
        ),
        ("ports", |error| error.ports = one(PORT), [true, true, true, false, true, true, true]),
        (
            "ipv4",
            |error| error.families = vec!["ipv4".into()],
            [true, true, true, true, true, false, false],
        ),
        (
            "ipv6",
            |error| error.families = vec!["ipv6".into()],
            [false, false, false, false, false, true, true],
        ),
        (
            "udp",
            |error| error.protocols = vec![v1::Protocol::Udp.into()],
            [false, true, false, false, false, false, false],
        ),
    ];
    for (name, change, hit) in cases {
        let injection = client.inject(sockets(&["bind"], &word, change).on(&stage.target))?;
        let tries = [
            (true, near4, PORT, false),
            (false, near4, PORT, false),
            (true, any4, PORT, false),
            (true, any4, 0, false),
            (true, mapped, PORT, true),
            (true, near6, PORT, false),
            (true, any6, PORT, true),
        ];
        let mut fired = 0;
        for ((stream, address, port, dual), is_hit) in tries.into_iter().zip(hit) {
            if address.is_ipv6() && !net::families().contains(&Family::V6) {
                continue;
            }
            let at = SocketAddr::new(address, port);
            let came = bound(&stage.victim, stream, at, dual)?;
            ensure!(came == is_hit.then_some(errno), "{name}: {at}, stream {stream}: {came:?}");
            fired += u64::from(is_hit);
        }
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == fired && counters.matched == fired, "{name}: {counters:?}");
    }
    ensure!(bound(&stage.victim, true, SocketAddr::new(near4, PORT), false)?.is_none());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// One rule, one sequence: whatever was skipped or drawn by one operation is by the other.
fn connecting_and_binding_are_drawn_together() -> Result<()> {
    const TRIES: u64 = 24;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "bind")?;
    needs_aspect(&client, KIND, "connect")?;
    let errno = errno(&client)?;
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    let here = SocketAddr::new(net::near(Family::V4), 0);
    let run = |fault: Calls| -> Result<(Vec<bool>, Counters)> {
        let injection = client.inject(fault.on(&stage.target))?;
        let tries = (0..TRIES).map(|n| {
            let came = if n % 2 == 0 {
                bound(&stage.victim, true, here, false)?
            } else {
                stage.victim.refusal(server.local, PATIENCE)?
            };
            ensure!(came.is_none_or(|came| came == errno), "{came:?}");
            Ok(came.is_some())
        });
        let fired = tries.collect::<Result<Vec<bool>>>()?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        let hits = fired.iter().filter(|fired| **fired).count() as u64;
        ensure!(counters.matched == TRIES && counters.fired == hits, "{counters:?}");
        Ok((fired, counters))
    };
    let fault = || sockets(&["connect", "bind"], &format!("{errno:?}"), |_| {});
    let (fired, _) = run(fault().skip(3).every(4))?;
    let meant: Vec<bool> = (0..TRIES).map(|n| n >= 3 && (n - 3) % 4 == 0).collect();
    ensure!(fired == meant, "{fired:?}");
    let (first, counters) = run(fault().percent(50.0).seed(7))?;
    ensure!((4..=20).contains(&counters.fired), "{counters:?}");
    ensure!(run(fault().percent(50.0).seed(7))?.0 == first, "the same seed gave something else");
    let (fired, counters) = run(fault().times(5))?;
    ensure!(fired.iter().take(5).all(|fired| *fired), "{fired:?}");
    ensure!(counters.fired == 5 && counters.over_budget == TRIES - 5, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn sending_fails_where_a_receiver_is_named() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    let errno = errno(&client)?;
    let send = |partial: bool| {
        let change = |error: &mut v1::SocketError| error.partial = partial;
        sockets(&["send"], &format!("{errno:?}"), change)
    };
    let said = caveats(&client, KIND, "send")?;
    ensure!(said.contains("only datagrams of UDP that name their receiver"), "{said}");
    let status = refused(client.inject(send(false).on(&stage.target)), "UNSUPPORTED")?;
    let part = "send (but for datagrams of UDP that name their receiver): ";
    ensure!(status.message().contains(part), "{status:?}");
    for family in net::families() {
        let receiver = stage.far.udp(net::far(family))?;
        let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?;
        let near = SocketAddr::new(net::near(family), 0);
        let open = stage.victim.connect(server.local, PATIENCE)?.context("no connection")?;
        let free = stage.victim.udp_with(near, UdpOptions::default())?;
        let options = UdpOptions { connect: Some(receiver.local), ..Default::default() };
        let connected = stage.victim.udp_with(near, options)?;
        let others = stage.bystander.udp(net::near(family))?;
        let injection = client.inject(send(true).on(&stage.target))?;
        active(&injection)?;
        let sent = stage.victim.send(free, receiver.local, 0, 3)?;
        ensure!(sent.ok == 0 && sent.failed == [errno as i32; 3], "{family:?}: {sent:?}");
        let sent = stage.victim.send_sized(connected, None, 10, 3, 0)?;
        ensure!(sent.ok == 3, "{family:?}, connected: {sent:?}");
        // Whoever is connected may name one all the same.
        let sent = stage.victim.send(connected, receiver.local, 20, 2)?;
        ensure!(sent.failed == [errno as i32; 2], "{family:?}, connected and named: {sent:?}");
        ensure!(stage.victim.exchange(open, 100, PATIENCE)?.complete, "{family:?}: TCP sends");
        ensure!(stage.victim.refusal(server.local, PATIENCE)?.is_none(), "{family:?}: connect");
        ensure!(bound(&stage.victim, false, near, false)?.is_none(), "{family:?}: bind");
        let sent = stage.bystander.send(others, receiver.local, 30, 3)?;
        ensure!(sent.ok == 3, "{family:?}, the bystander: {sent:?}");
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 5 && counters.matched == 5, "{family:?}: {counters:?}");
        let sent = stage.victim.send(free, receiver.local, 40, 3)?;
        ensure!(sent.ok == 3, "{family:?}, afterwards: {sent:?}");
        let elsewhere = sockets(&["send"], &format!("{errno:?}"), |error| {
            error.partial = true;
            error.remote = vec![net::far(family).to_string()];
            error.ports = one(receiver.local.port());
        });
        let injection = client.inject(elsewhere.on(&stage.target))?;
        let other = stage.far.udp(net::far(family))?;
        let sent = stage.victim.send(free, other.local, 50, 1)?;
        ensure!(sent.ok == 1, "{family:?}, another port: {sent:?}");
        let sent = stage.victim.send(free, receiver.local, 60, 1)?;
        ensure!(sent.failed == [errno as i32], "{family:?}, that port: {sent:?}");
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn one_rule_for_all_of_it() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    let errno = errno(&client)?;
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    let receiver = stage.far.udp(net::far(Family::V4))?;
    let sender = stage.victim.udp(net::near(Family::V4))?;
    let here = SocketAddr::new(net::near(Family::V4), 0);
    let every = ["bind", "connect", "send", "listen"];
    let fault = sockets(&every, &format!("{errno:?}"), |error| error.partial = true);
    let injection = client.inject(fault.every(2).on(&stage.target))?;
    let mut hits = Vec::new();
    for _ in 0..3 {
        hits.push(bound(&stage.victim, true, here, false)?.is_some());
        hits.push(stage.victim.refusal(server.local, PATIENCE)?.is_some());
        hits.push(stage.victim.send(sender, receiver.local, 0, 1)?.ok == 0);
    }
    let meant: Vec<bool> = (0..9).map(|n| n % 2 == 0).collect();
    ensure!(hits == meant, "{hits:?}");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 9 && counters.fired == 5, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Both are asked by the same programs.
fn ports_are_taken_beside_it() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "bind")?;
    needs_aspect(&client, "network occupy", "refuse")?;
    let at = |port| SocketAddr::new(net::near(Family::V4), port);
    let (here, there, free) = (at(8080), at(8081), at(8082));
    let tried = |address| bound(&stage.victim, true, address, false);
    let range = |port: u16| v1::PortRange { first: port.into(), last: None };
    let occupied = v1::NetworkOccupy {
        ports: vec![range(8080), range(8081)],
        refuse: true,
        ..Default::default()
    };
    let occupied = client.inject(Network::from(occupied).on(&stage.target))?;
    let denied = sockets(&["bind", "connect"], "EACCES", |error| error.ports = one(8080));
    let denied = client.inject(denied.on(&stage.target))?;
    // What refuses is asked before what occupies.
    ensure!(tried(here)? == Some(Errno::EACCES), "both");
    ensure!(tried(there)? == Some(Errno::EADDRINUSE), "taken");
    ensure!(tried(free)?.is_none(), "free");
    let counters = balanced(&client.recover(&denied.id)?)?;
    ensure!(counters.fired == 1 && counters.matched == 1, "{counters:?}");
    ensure!(tried(here)? == Some(Errno::EADDRINUSE), "taken too");
    let denied = client.inject(sockets(&["bind"], "EACCES", |_| {}).on(&stage.target))?;
    let counters = balanced(&client.recover(&occupied.id)?)?;
    ensure!(counters.fired == 2 && counters.matched == 2, "{counters:?}");
    for address in [here, there, free] {
        ensure!(tried(address)? == Some(Errno::EACCES), "{address}");
    }
    client.recover(&denied.id)?;
    ensure!(tried(here)?.is_none(), "afterwards");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_nested_is_asked_from_above() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "bind")?;
    let errno = errno(&client)?;
    let inner = stage.target.child("inner")?;
    let agent = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    let here = SocketAddr::new(net::near(Family::V4), 0);
    let fault = || sockets(&["bind"], &format!("{errno:?}"), |_| {});
    let inside = client.inject(fault().on(&inner))?;
    ensure!(bound(&agent, true, here, false)? == Some(errno), "inside");
    ensure!(bound(&stage.victim, true, here, false)?.is_none(), "above it");
    let above = client.inject(fault().on(&stage.target))?;
    ensure!(bound(&agent, true, here, false)? == Some(errno), "inside, from above");
    ensure!(bound(&stage.victim, true, here, false)? == Some(errno), "above");
    let counters = balanced(&client.recover(&above.id)?)?;
    ensure!(counters.fired == 2, "{counters:?}");
    let counters = balanced(&client.recover(&inside.id)?)?;
    ensure!(counters.fired == 1, "asked although the one above had fired: {counters:?}");
    ensure!(bound(&agent, true, here, false)?.is_none(), "afterwards");
    drop(agent);
    drop(inner);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Sockets that ping and raw ones: of these the kernel asks only when the former connect, from the version on that lets
/// calls fail with any errno.
fn what_pings_may_not_connect() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    let errno = errno(&client)?;
    let word = format!("{errno:?}");
    let fault = sockets(&["connect"], &word, |error| {
        error.protocols = vec![v1::Protocol::Icmp.into()];
    });
    let answer = client.inject(fault.on(&stage.target));
    if errno == Errno::EPERM {
        let status = refused(answer, "UNSUPPORTED")?;
        ensure!(status.message().contains("connect over icmp"), "{status:?}");
    } else {
        let kind = libc::SOCK_DGRAM;
        let make = [number(libc::AF_INET), number(kind), number(libc::IPPROTO_ICMP)];
        let socket = outcome(&stage.victim, &call(libc::SYS_socket, make))?.context("no ping")?;
        let IpAddr::V4(far) = net::far(Family::V4) else { bail!("no address of IPv4") };
        // `struct sockaddr_in`.
        let mut to = vec![0; 16];
        to[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        to[4..8].copy_from_slice(&far.octets());
        let connect = call(libc::SYS_connect, [number(socket), Arg::Bytes(to), number(16)]);
        fails(&stage.victim, &connect, errno)?;
        client.recover(&answer?.id)?;
        works(&stage.victim, &connect)?;
        works(&stage.victim, &call(libc::SYS_close, [number(socket)]))?;
    }
    let injection = client.inject(sockets(&["bind"], &word, |_| {}).on(&stage.target))?;
    for family in net::families() {
        stage.victim.close(stage.victim.ping(net::near(family))?)?;
        stage.victim.close(stage.victim.raw_ping(net::near(family))?)?;
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 0, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn connecting_fails_towards_those_who_are_meant() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    let errno = errno(&client)?;
    for family in net::families() {
        let (one, other) = (
            stage.far.listen(SocketAddr::new(net::far(family), 0))?,
            stage.far.listen(SocketAddr::new(net::far(family), 0))?,
        );
        let fault = sockets(&["connect"], &format!("{errno:?}"), |error| {
            error.remote = vec![net::far(family).to_string()];
            let first = one.local.port().into();
            error.ports = vec![v1::PortRange { first, last: None }];
            error.protocols = vec![v1::Protocol::Tcp.into()];
        });
        let injection = client.inject(fault.on(&stage.target))?;
        let refusal = |agent: &Agent, to| agent.refusal(to, PATIENCE);
        ensure!(refusal(&stage.victim, one.local)? == Some(errno), "{family:?}");
        ensure!(refusal(&stage.victim, other.local)?.is_none(), "{family:?}: another port");
        ensure!(refusal(&stage.bystander, one.local)?.is_none(), "{family:?}: the bystander");
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1 && counters.matched == 1, "{counters:?}");
        ensure!(refusal(&stage.victim, one.local)?.is_none(), "{family:?}: afterwards");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn making_binding_listening_and_accepting_fail() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "listen")?;
    let make = call(
        libc::SYS_socket,
        [number(libc::AF_INET), number(libc::SOCK_STREAM | libc::SOCK_NONBLOCK), number(0)],
    );
    let with =
        |operation: &str, errno: &str| sockets(&[operation], errno, |_| {}).on(&stage.target);
    let injection = client.inject(with("socket", "EAFNOSUPPORT"))?;
    fails(&stage.victim, &make, Errno::EAFNOSUPPORT)?;
    client.recover(&injection.id)?;
    let socket = outcome(&stage.victim, &make)?.context("no socket")?;
    // `struct sockaddr_in`: any address, a port of the kernel's choice.
    let mut any = vec![0; 16];
    any[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    let bind = call(libc::SYS_bind, [number(socket), Arg::Bytes(any), number(16)]);
    let listen = call(libc::SYS_listen, [number(socket), number(4)]);
    let accept = call(libc::SYS_accept4, [number(socket), number(0), number(0), number(0)]);
    for (operation, errno, deed) in
        [("bind", "EADDRINUSE", &bind), ("listen", "EADDRINUSE", &listen)]
    {
        let injection = client.inject(with(operation, errno))?;
        fails(&stage.victim, deed, Errno::EADDRINUSE)?;
        client.recover(&injection.id)?;
        works(&stage.victim, deed)?;
    }
    let injection = client.inject(with("accept", "EMFILE"))?;
    fails(&stage.victim, &accept, Errno::EMFILE)?;
    client.recover(&injection.id)?;
    // Nobody has come.
    fails(&stage.victim, &accept, Errno::EAGAIN)?;
    works(&stage.victim, &call(libc::SYS_close, [number(socket)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn sending_and_receiving_fail_on_what_is_open() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "receive")?;
    let family = Family::V4;
    let receiver = stage.far.udp(net::far(family))?;
    let sender = stage.victim.udp(net::near(family))?;
    let others = stage.bystander.udp(net::near(family))?;
    let fault = sockets(&["send"], "ENOBUFS", |error| {
        error.remote = vec![net::far(family).to_string()];
        error.protocols = vec![v1::Protocol::Udp.into()];
    });
    let injection = client.inject(fault.times(2).on(&stage.target))?;
    let sent = stage.victim.send(sender, receiver.local, 0, 3)?;
    ensure!(sent.ok == 1 && sent.failed == [libc::ENOBUFS; 2], "{sent:?}");
    let sent = stage.bystander.send(others, receiver.local, 10, 1)?;
    ensure!(sent.ok == 1, "{sent:?}");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 3 && counters.fired == 2, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn unix_sockets_are_told_apart() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "socket")?;
    let make =
        |family| call(libc::SYS_socket, [number(family), number(libc::SOCK_STREAM), number(0)]);
    let fault = sockets(&["socket"], "EPERM", |error| error.families = vec!["unix".into()]);
    let injection = client.inject(fault.on(&stage.target))?;
    fails(&stage.victim, &make(libc::AF_UNIX), Errno::EPERM)?;
    let other = outcome(&stage.victim, &make(libc::AF_INET))?.context("no socket of IPv4")?;
    works(&stage.victim, &call(libc::SYS_close, [number(other)]))?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_open_is_reset_when_asked() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "connect")?;
    needs_aspect(&client, KIND, "reset open")?;
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    let open = |agent: &Agent| -> Result<_> {
        agent.connect(server.local, PATIENCE)?.context("no connection")
    };
    let (its, others) = (open(&stage.victim)?, open(&stage.bystander)?);
    let fault = sockets(&["connect"], "ECONNREFUSED", |error| error.reset_open = true);
    let injection = client.inject(fault.on(&stage.target))?;
    ensure!(injection.connections_reset == Some(1), "{injection:?}");
    let fate = stage.victim.fate(its, PATIENCE)?;
    ensure!(fate.is_some(), "the victim's connection goes on");
    ensure!(stage.bystander.exchange(others, 100, PATIENCE)?.complete, "the bystander's does not");
    ensure!(
        stage.victim.refusal(server.local, PATIENCE)? == Some(Errno::ECONNREFUSED),
        "connecting again works"
    );
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
