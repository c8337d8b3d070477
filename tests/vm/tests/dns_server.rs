//! `dns server`: another name server is asked, and its answers seem to be of the one that was meant; or none is.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, State};
use hickory_proto::rr::RecordType;
use nix::errno::Errno;

use crate::harness::{
    Agent, Family, Network, Socket, Stage, active, balanced, net, poll,
    questions::{
        KNOWN, SILENCE, WITHIN, addresses, answers, looked_up, name_server, name_server_at,
        question, read, stub,
    },
    reason_against, skip,
    skip::needs_ipv6,
    tests,
};

tests![
    questions_go_elsewhere_and_answers_seem_to_come_from_where_they_should,
    connections_go_elsewhere,
    name_servers_and_ports_are_told_apart,
    a_family_without_another_server_has_none,
    none_is_as_if_nobody_listened,
    an_open_socket_that_names_its_server_survives,
    what_is_connected_elsewhere_ends_with_the_fault,
    it_ends_with_the_lease_whoever_is_dead,
    a_resolver_on_the_loopback_is_left_out,
];

/// What the other name server says.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const PATIENCE: Duration = Duration::from_secs(10);

fn other(family: Family) -> IpAddr {
    net::address(family, 77, 3)
}

fn to(servers: &[SocketAddr]) -> v1::DnsServer {
    let upstream = servers.iter().map(ToString::to_string).collect();
    v1::DnsServer { upstream, ..Default::default() }
}

fn on(stage: &Stage, server: v1::DnsServer) -> v1::Spec {
    Network::from(server).on(&stage.target)
}

/// What a new socket is told of a name.
fn says(agent: &Agent, to: SocketAddr, connects: bool, wanted: Ipv4Addr) -> Result<()> {
    let ask = question("a.example", RecordType::A)?.to_vec()?;
    // It fails if the answer comes from another.
    let response = agent.question(to, &ask, connects, WITHIN)?.context("no answer")?;
    let found = addresses(&read(response)?)?;
    ensure!(found == [IpAddr::V4(wanted)], "connects {connects}: {found:?}, not {wanted}");
    Ok(())
}

/// The same of an open one.
fn tells(agent: &Agent, socket: Socket, wanted: Ipv4Addr) -> Result<()> {
    let ask = question("a.example", RecordType::A)?.to_vec()?;
    let response = agent.ask_server(socket, &ask, WITHIN)??.context("no answer")?;
    let found = addresses(&read(response)?)?;
    ensure!(found == [IpAddr::V4(wanted)], "{found:?}, not {wanted}");
    Ok(())
}

fn mapped(at: SocketAddr) -> Option<SocketAddr> {
    match at.ip() {
        IpAddr::V4(address) => Some(SocketAddr::new(address.to_ipv6_mapped().into(), at.port())),
        IpAddr::V6(_) => None,
    }
}

fn questions_go_elsewhere_and_answers_seem_to_come_from_where_they_should() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (asked, at) = name_server(&stage, family)?;
        let (another, elsewhere) = name_server_at(&stage, other(family), ELSEWHERE)?;
        let injection = client.inject(on(&stage, to(&[elsewhere])))?;
        asked.take_heard();
        for connects in [true, false] {
            says(&stage.victim, at, connects, ELSEWHERE)?;
        }
        ensure!(asked.take_heard().is_empty(), "the name server was asked all the same");
        ensure!(another.take_heard().len() == 2, "the other name server was not asked");
        // Whoever asks that one anyway gets its answer from itself.
        for connects in [true, false] {
            says(&stage.victim, elsewhere, connects, ELSEWHERE)?;
            says(&stage.bystander, at, connects, KNOWN)?;
        }
        // A socket of IPv6 that speaks IPv4.
        if let Some(at) = mapped(at).filter(|_| net::families().contains(&Family::V6)) {
            for connects in [true, false] {
                says(&stage.victim, at, connects, ELSEWHERE)?;
            }
        }
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired >= 2 && counters.fired == counters.matched, "{counters:?}");
        for connects in [true, false] {
            says(&stage.victim, at, connects, KNOWN)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn connections_go_elsewhere() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (at, elsewhere) =
            (SocketAddr::new(net::far(family), 53), SocketAddr::new(other(family), 5353));
        let (meant, another) = (stage.far.listen(at)?, stage.far.listen(elsewhere)?);
        let injection = client.inject(on(&stage, to(&[elsewhere])))?;
        let connection = stage.victim.connect(at, PATIENCE)?.context("no connection")?;
        let exchanged = stage.victim.exchange(connection, 100, PATIENCE)?;
        ensure!(exchanged.complete, "{exchanged:?}");
        let served = |socket| Ok::<_, anyhow::Error>(stage.far.served(socket)?.accepted);
        ensure!(served(meant)? == 0 && served(another)? == 1, "{family:?}: served by the other");
        ensure!(stage.bystander.refusal(at, PATIENCE)?.is_none());
        client.recover(&injection.id)?;
        stage.victim.close(connection)?;
        let connection = stage.victim.connect(at, PATIENCE)?.context("no connection")?;
        stage.victim.exchange(connection, 100, PATIENCE)?;
        ensure!(served(meant)? == 2, "{family:?}: not served after the fault");
        stage.victim.close(connection)?;
        stage.far.close(meant)?;
        stage.far.close(another)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn name_servers_and_ports_are_told_apart() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_asked, at) = name_server(&stage, Family::V4)?;
    let (_another, elsewhere) = name_server_at(&stage, other(Family::V4), ELSEWHERE)?;
    for (change, is_met) in [
        (v1::DnsServer { servers: vec!["10.77.0.2".into()], ..to(&[elsewhere]) }, true),
        (v1::DnsServer { servers: vec!["10.77.0.4/32".into()], ..to(&[elsewhere]) }, false),
        (
            v1::DnsServer {
                ports: vec![v1::PortRange { first: 5353, last: None }],
                ..to(&[elsewhere])
            },
            false,
        ),
    ] {
        let injection = client.inject(on(&stage, change))?;
        for connects in [true, false] {
            says(&stage.victim, at, connects, if is_met { ELSEWHERE } else { KNOWN })?;
        }
        client.recover(&injection.id)?;
    }
    let twice = Network::from(to(&[elsewhere])).times(2).on(&stage.target);
    client.inject(twice)?;
    says(&stage.victim, at, true, ELSEWHERE)?;
    says(&stage.victim, at, false, ELSEWHERE)?;
    says(&stage.victim, at, true, KNOWN)?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_family_without_another_server_has_none() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_ipv6()?;
    let (_asked, at) = name_server(&stage, Family::V6)?;
    let elsewhere = SocketAddr::new(other(Family::V4), 53);
    client.inject(on(&stage, to(&[elsewhere])))?;
    let refused = stage.victim.resolver(at, true)?.err();
    let wanted = [Some(Errno::ECONNREFUSED), Some(Errno::EPERM)];
    ensure!(wanted.contains(&refused), "connected: {refused:?}");
    let resolver = stage.victim.resolver(at, false)??;
    let ask = question("a.example", RecordType::A)?.to_vec()?;
    let told = stage.victim.ask_server(resolver, &ask, SILENCE)?.err();
    ensure!(told == refused, "sent: {told:?}");
    stage.victim.close(resolver)?;
    answers(&stage.bystander, at, "a.example")?;
    client.recover_all()?;
    answers(&stage.victim, at, "a.example")?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn none_is_as_if_nobody_listened() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (asked, at) = name_server(&stage, family)?;
        let server = stage.far.listen(at)?;
        let none = v1::DnsServer { none: true, ..Default::default() };
        let open = stage.victim.resolver(at, true)??;
        tells(&stage.victim, open, KNOWN)?;
        client.inject(on(&stage, none))?;
        asked.take_heard();
        let ask = question("a.example", RecordType::A)?.to_vec()?;
        // Also of a socket that was connected before.
        for resolver in [open, stage.victim.resolver(at, true)??] {
            let told = stage.victim.ask_server(resolver, &ask, PATIENCE)?.err();
            ensure!(told == Some(Errno::ECONNREFUSED), "{family:?}: {told:?}");
        }
        let refused = stage.victim.refusal(at, PATIENCE)?;
        ensure!(refused == Some(Errno::ECONNREFUSED), "{family:?}: {refused:?}");
        ensure!(asked.take_heard().is_empty(), "the name server was asked all the same");
        answers(&stage.bystander, at, "a.example")?;
        client.recover_all()?;
        tells(&stage.victim, open, KNOWN)?;
        stage.far.close(server)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_open_socket_that_names_its_server_survives() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let (_asked, at) = name_server(&stage, family)?;
        let (_another, elsewhere) = name_server_at(&stage, other(family), ELSEWHERE)?;
        let socket = stage.victim.resolver(at, false)??;
        let connected = stage.victim.resolver(at, true)??;
        tells(&stage.victim, socket, KNOWN)?;
        client.inject(on(&stage, to(&[elsewhere])))?;
        tells(&stage.victim, socket, ELSEWHERE)?;
        // What was connected before the fault stays so, and nobody ends it.
        tells(&stage.victim, connected, KNOWN)?;
        client.recover_all()?;
        tells(&stage.victim, socket, KNOWN)?;
        tells(&stage.victim, connected, KNOWN)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Waits until a socket that was connected elsewhere is told that it is over, and never gets an answer of there again.
fn is_thrown_off(agent: &Agent, socket: Socket) -> Result<Errno> {
    let ask = question("a.example", RecordType::A)?.to_vec()?;
    poll::until("the socket to be thrown off", PATIENCE, || {
        match agent.ask_server(socket, &ask, SILENCE)? {
            Err(errno) => Ok(Some(errno)),
            Ok(None) => Ok(None),
            Ok(Some(_)) => bail!("the other name server answers still"),
        }
    })
}

fn what_is_connected_elsewhere_ends_with_the_fault() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    if let Some(reason) = reason_against(&client, "network reject", |one| one == "reset open")? {
        skip(reason)?;
    }
    for family in net::families() {
        let (_asked, at) = name_server(&stage, family)?;
        let (_another, elsewhere) = name_server_at(&stage, other(family), ELSEWHERE)?;
        let servers = [stage.far.listen(at)?, stage.far.listen(elsewhere)?];
        client.inject(on(&stage, to(&[elsewhere])))?;
        let socket = stage.victim.resolver(at, true)??;
        // That is its own wish, and no matter of the fault.
        let own = stage.victim.resolver(elsewhere, true)??;
        let connection = stage.victim.connect(at, PATIENCE)?.context("no connection")?;
        tells(&stage.victim, socket, ELSEWHERE)?;
        tells(&stage.victim, own, ELSEWHERE)?;
        client.recover_all()?;
        is_thrown_off(&stage.victim, socket)?;
        let ended = stage.victim.fate(connection, PATIENCE)?;
        ensure!(ended == Some(Errno::ECONNABORTED), "{family:?}: {ended:?}");
        tells(&stage.victim, own, ELSEWHERE)?;
        says(&stage.victim, at, true, KNOWN)?;
        for server in servers {
            stage.far.close(server)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn it_ends_with_the_lease_whoever_is_dead() -> Result<()> {
    const ID: &str = "of-servers";
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let (_asked, at) = name_server(&stage, Family::V4)?;
    let (_another, elsewhere) = name_server_at(&stage, other(Family::V4), ELSEWHERE)?;
    let server = stage.far.listen(elsewhere)?;
    daemon.client()?.inject_as(ID, on(&stage, to(&[elsewhere])))?;
    let (connected, open) = (stage.victim.resolver(at, true)??, stage.victim.resolver(at, false)??);
    let connection = stage.victim.connect(at, PATIENCE)?.context("no connection")?;
    let bites = || {
        tells(&stage.victim, connected, ELSEWHERE)?;
        tells(&stage.victim, open, ELSEWHERE)?;
        says(&stage.victim, at, true, ELSEWHERE)?;
        says(&stage.bystander, at, true, KNOWN)
    };
    bites()?;
    daemon.kill()?;
    bites()?;
    let daemon = stage.daemon()?;
    active(&daemon.client()?.get(ID)?)?;
    bites()?;
    daemon.kill()?;
    poll::until_ok("the lease to lapse", Duration::from_secs(30), || {
        says(&stage.victim, at, true, KNOWN)
    })?;
    // Nobody is there who could end it, and it is not connected elsewhere any more.
    let ask = question("a.example", RecordType::A)?.to_vec()?;
    let told = stage.victim.ask_server(connected, &ask, PATIENCE)?.err();
    ensure!(told == Some(Errno::ECONNREFUSED), "{told:?}");
    let exchanged = stage.victim.exchange(connection, 100, PATIENCE)?;
    ensure!(exchanged.errno == Errno::ECONNRESET as i32, "{exchanged:?}");
    tells(&stage.victim, open, KNOWN)?;
    says(&stage.bystander, at, true, KNOWN)?;
    let daemon = stage.daemon()?;
    ensure!(daemon.client()?.get(ID)?.state() == State::Ended);
    says(&stage.victim, at, false, KNOWN)?;
    stage.far.close(server)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// From a stub on the loopback to a name server far away, and the other way round: the kernel finds the way anew.
fn a_resolver_on_the_loopback_is_left_out() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    let (local, stub) = stub(&stage, ELSEWHERE)?;
    let (_asked, far) = name_server(&stage, Family::V4)?;
    for (at, elsewhere, before, during) in
        [(stub, far, ELSEWHERE, KNOWN), (far, stub, KNOWN, ELSEWHERE)]
    {
        for connects in [true, false] {
            says(&stage.victim, at, connects, before)?;
        }
        client.inject(on(&stage, to(&[elsewhere])))?;
        for connects in [true, false] {
            says(&stage.victim, at, connects, during)?;
            says(&stage.bystander, at, connects, before)?;
        }
        client.recover_all()?;
        for connects in [true, false] {
            says(&stage.victim, at, connects, before)?;
        }
    }
    let response = looked_up(&stage.victim, stub, "a.example", RecordType::A)?;
    ensure!(addresses(&response)? == [IpAddr::V4(ELSEWHERE)], "{response:?}");
    drop(local);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
