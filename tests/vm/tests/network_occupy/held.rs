//! Ports that are taken: nobody in the target's network can bind to them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, End, Protocol, State};
use nix::errno::Errno;

use super::{
    PORT, SOON, all_bind, all_of, at, end, is_free, is_taken, listen, none_binds, occupy, patient,
    range, ready,
};
use crate::{
    harness::{
        Agent, Daemon, Family, Network, Place, Settings, Stage, active, chaos, chaos_to, field,
        net, own_binary, poll, refused, run_command, tests,
    },
    victim::{PortOptions, Then},
};

tests![
    nobody_can_bind,
    other_ports_addresses_and_namespaces_are_free,
    connections_are_refused_and_datagrams_vanish,
    a_taken_port_is_refused_and_named,
    a_range_is_taken_as_a_whole_or_not_at_all,
    what_a_server_left_is_in_nobodys_way,
    a_port_is_held_for_one,
    it_ends_on_time,
    it_ends_with_the_daemon_and_begins_again_with_the_next,
    what_somebody_took_meanwhile_is_his,
    killed_when_the_ports_are_taken,
    killed_when_the_ports_are_free_again,
    it_follows_the_target_to_another_namespace,
    without_processes_there_is_no_network,
    there_is_nothing_to_count_or_draw,
    people_are_shown_no_counts,
    a_command_cannot_bind,
];

fn nobody_can_bind() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    all_bind(&stage.victim)?;
    let injection = client.inject(all_of(PORT).on(&stage.target))?;
    active(&injection)?;
    none_binds(&stage.victim)?;
    // Whoever shares the target's network is hit too.
    none_binds(&stage.bystander)?;
    let elsewhere = stage.in_other_namespace(&stage.sibling)?;
    is_free(&elsewhere, PORT)?;
    let datagrams = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    elsewhere.bind(false, datagrams, PortOptions::default())?.context("it is free")?;
    let ended = client.recover(&injection.id)?;
    ensure!(ended.state() == State::Ended && ended.end() == End::Recovered, "{ended:?}");
    end(&stage, daemon)
}

fn other_ports_addresses_and_namespaces_are_free() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let v4 =
        v1::NetworkOccupy { address: Some("0.0.0.0".into()), ..occupy(&[], &[range(PORT, PORT)]) };
    let injection = client.inject(Network::from(v4).on(&stage.target))?;
    is_taken(&stage.victim, PORT)?;
    is_free(&stage.victim, PORT + 1)?;
    let free = |stream, address: IpAddr| -> Result<()> {
        let bound = stage.victim.bind(stream, at(address), PortOptions::default())?;
        stage.victim.close(bound.with_context(|| format!("{stream} {address}"))?)
    };
    free(false, Ipv4Addr::UNSPECIFIED.into())?;
    for family in net::families().into_iter().filter(|family| *family == Family::V6) {
        free(true, net::any(family))?;
    }
    client.recover(&injection.id)?;
    let one = v1::NetworkOccupy {
        address: Some(net::near(Family::V4).to_string()),
        ..occupy(&[], &[range(PORT, PORT)])
    };
    let injection = client.inject(Network::from(one).on(&stage.target))?;
    free(true, Ipv4Addr::LOCALHOST.into())?;
    // The address is among all of them.
    is_taken(&stage.victim, PORT)?;
    client.recover(&injection.id)?;
    let nowhere = v1::NetworkOccupy {
        address: Some("192.0.2.1".into()),
        ..occupy(&[], &[range(PORT, PORT)])
    };
    let status = refused(client.inject(Network::from(nowhere).on(&stage.target)), "KERNEL")?;
    ensure!(status.message().contains("no such address"), "{status:?}");
    end(&stage, daemon)
}

fn connections_are_refused_and_datagrams_vanish() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let injection = client.inject(all_of(PORT).on(&stage.target))?;
    for family in net::families() {
        let error = match stage.far.connect(at(net::near(family)), SOON) {
            Ok(connection) => bail!("somebody took a connection: {connection:?}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.contains("ECONNREFUSED"), "{error}");
        let options = crate::victim::UdpOptions { receive_errors: true, ..Default::default() };
        let socket = stage.far.udp_with(SocketAddr::new(net::far(family), 0), options)?;
        let sent = stage.far.send(socket, at(net::near(family)), 0, 3)?;
        ensure!(sent.failed.is_empty(), "{sent:?}");
        stage.settle()?;
        let errors = stage.far.errors(socket)?;
        ensure!(errors == Default::default(), "{errors:?}");
    }
    client.recover(&injection.id)?;
    end(&stage, daemon)
}

fn a_taken_port_is_refused_and_named() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    // A kernel without INET_DIAG or INET_UDP_DIAG does not say whose a socket is.
    let tells = client.targets()?.iter().any(|target| target.sockets.is_some());
    for (stream, then, named) in [
        (true, Then::Listen, tells),
        (false, Then::Nothing, tells),
        // Before Linux 6.8 the kernel shows it to nobody.
        (true, Then::Nothing, false),
    ] {
        let options = PortOptions { then, ..Default::default() };
        let address = at(net::near(Family::V4));
        let socket = stage.bystander.bind(stream, address, options)?.context("it is free")?;
        let spec = all_of(PORT).on(&stage.target);
        let status = refused(client.inject(spec.clone()), "PORT_TAKEN")?;
        let said = status.message();
        let protocol = if stream { "tcp" } else { "udp" };
        ensure!(said.contains(&format!("{protocol} port {PORT} at 0.0.0.0 is taken")), "{said}");
        if named {
            let pid = stage.bystander.pid();
            ensure!(said.contains(&format!("(pid {pid})")), "{said} does not name {pid}");
            refused(client.plan(spec), "PORT_TAKEN")?;
        }
        ensure!(client.list()?.is_empty(), "it is live");
        stage.bystander.close(socket)?;
    }
    end(&stage, daemon)
}

fn a_range_is_taken_as_a_whole_or_not_at_all() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let spec = || Network::from(occupy(&[], &[range(9000, 9100), range(9200, 9200)]));
    // It is bound and does not listen: no look finds it on every kernel, but taking it fails.
    let there = SocketAddr::new(net::near(Family::V4), 9100);
    let socket =
        stage.bystander.bind(true, there, PortOptions::default())?.context("it is free")?;
    refused(client.inject(spec().on(&stage.target)), "PORT_TAKEN")?;
    for port in [9000, 9050, 9099, 9200] {
        is_free(&stage.victim, port)?;
    }
    stage.bystander.close(socket)?;
    let injection = client.inject(spec().on(&stage.target))?;
    for port in [9000, 9050, 9100, 9200] {
        is_taken(&stage.victim, port)?;
    }
    is_free(&stage.victim, 9101)?;
    client.recover(&injection.id)?;
    end(&stage, daemon)
}

/// A server that ended has connections that wait for their end, and the next one may bind all the same.
fn what_a_server_left_is_in_nobodys_way() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let server = Agent::start(Place::default().cgroup(&stage.target)?.netns(&stage.net.near)?)?;
    let address = at(net::near(Family::V4));
    server.listen(address)?;
    let connection = stage.far.connect(address, SOON)?.context("the server does not answer")?;
    ensure!(stage.far.exchange(connection, 1, SOON)?.complete, "the server does not answer");
    server.kill()?;
    stage.far.close(connection)?;
    stage.settle()?;
    let plain = stage.victim.bind(true, address, PortOptions::default())?;
    ensure!(matches!(plain, Err(Errno::EADDRINUSE)), "the server left nothing: {plain:?}");
    let injection = client.inject(all_of(PORT).on(&stage.target))?;
    none_binds(&stage.victim)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    is_free(&stage.victim, PORT)?;
    stage.finish(daemon)
}

fn a_port_is_held_for_one() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let first = client.inject_as("first", all_of(PORT).on(&stage.target))?;
    let spec = Network::from(occupy(&[Protocol::Udp], &[range(PORT - 1, PORT)]));
    for cgroup in [&stage.target, &stage.sibling] {
        for answer in [
            client.inject(spec.clone().on(cgroup)).map(drop),
            client.plan(spec.clone().on(cgroup)).map(drop),
        ] {
            let status = refused(answer, "PORT_TAKEN")?;
            ensure!(status.message().contains("held by injection first"), "{status:?}");
        }
    }
    is_free(&stage.victim, PORT - 1)?;
    // The same request again is the same injection.
    let again = client.inject_as("first", all_of(PORT).on(&stage.target))?;
    ensure!(again.id == first.id, "{again:?}");
    let other = client.inject(all_of(PORT + 1).on(&stage.target))?;
    client.recover("first")?;
    client.inject(spec.on(&stage.sibling))?;
    is_taken(&stage.victim, PORT + 1)?;
    client.recover(&other.id)?;
    client.recover_all()?;
    end(&stage, daemon)
}

fn it_ends_on_time() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let brief = all_of(PORT).lasting(Duration::from_secs(2)).on(&stage.target);
    let injection = client.inject(brief)?;
    is_taken(&stage.victim, PORT)?;
    poll::until_ok("the port to be free", SOON, || is_free(&stage.victim, PORT))?;
    let ended = client.get(&injection.id)?;
    ensure!(ended.end() == End::Expired, "{ended:?}");
    end(&stage, daemon)
}

fn it_ends_with_the_daemon_and_begins_again_with_the_next() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(patient())?;
    daemon.client()?.inject_as("kept", all_of(PORT).on(&stage.target))?;
    none_binds(&stage.victim)?;
    daemon.kill()?;
    all_bind(&stage.victim)?;
    let daemon = stage.daemon_with(patient())?;
    let client = daemon.client()?;
    active(&client.get("kept")?)?;
    none_binds(&stage.victim)?;
    client.recover("kept")?;
    end(&stage, daemon)
}

fn what_somebody_took_meanwhile_is_his() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(patient())?;
    daemon.client()?.inject_as("kept", all_of(PORT).on(&stage.target))?;
    daemon.kill()?;
    let socket = listen(&stage.victim, at(net::near(Family::V4)))?.context("it is free")?;
    let daemon = stage.daemon_with(patient())?;
    let ended = daemon.client()?.get("kept")?;
    ensure!(ended.end() == End::Interrupted, "{ended:?}");
    ensure!(ended.message.contains("somebody had it while no daemon held it"), "{ended:?}");
    stage.victim.close(socket)?;
    end(&stage, daemon)
}

fn failing(stage: &Stage, step: &'static str) -> Result<Daemon> {
    stage.daemon_with(Settings { failpoint: Some(step), ..patient() })
}

/// It was whole when the daemon died, and goes on with the next.
fn killed_when_the_ports_are_taken() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = failing(&stage, "ports-taken")?;
    let answer = daemon.client()?.inject_as("crashed", all_of(PORT).on(&stage.target));
    ensure!(answer.is_err(), "the daemon answered: {answer:?}");
    daemon.wait_killed()?;
    all_bind(&stage.victim)?;
    let daemon = stage.daemon_with(patient())?;
    let client = daemon.client()?;
    active(&client.get("crashed")?)?;
    none_binds(&stage.victim)?;
    client.recover("crashed")?;
    end(&stage, daemon)
}

fn killed_when_the_ports_are_free_again() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = failing(&stage, "ports-freed")?;
    let client = daemon.client()?;
    client.inject_as("crashed", all_of(PORT).on(&stage.target))?;
    let answer = client.recover("crashed");
    ensure!(answer.is_err(), "the daemon answered: {answer:?}");
    daemon.wait_killed()?;
    let daemon = stage.daemon_with(patient())?;
    let ended = daemon.client()?.get("crashed")?;
    ensure!(ended.end() == End::Recovered, "{ended:?}");
    end(&stage, daemon)
}

fn it_follows_the_target_to_another_namespace() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let elsewhere = stage.in_other_namespace(&stage.sibling)?;
    client.inject_as("moving", all_of(PORT).on(&stage.target))?;
    is_free(&elsewhere, PORT)?;
    stage.victim.enter(&stage.net.other)?;
    poll::until_ok("the port to be taken", SOON, || is_taken(&elsewhere, PORT))?;
    poll::until_ok("the port to be free", SOON, || is_free(&stage.bystander, PORT))?;
    client.recover("moving")?;
    is_free(&elsewhere, PORT)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn without_processes_there_is_no_network() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let empty = stage.target.child("empty")?;
    for answer in [
        client.inject(all_of(PORT).on(&empty)).map(drop),
        client.plan(all_of(PORT).on(&empty)).map(drop),
    ] {
        let status = refused(answer, "TARGET_EMPTY")?;
        ensure!(status.message().contains(empty.path()), "{status:?}");
    }
    drop(empty);
    end(&stage, daemon)
}

fn there_is_nothing_to_count_or_draw() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    for (spec, wanted) in [
        (all_of(PORT).times(1).on(&stage.target), "times"),
        (all_of(PORT).seed(1).on(&stage.target), "seed"),
    ] {
        let status = refused(client.inject(spec), "INVALID_SPEC")?;
        ensure!(
            field(&status).as_deref().is_some_and(|field| field.ends_with(wanted)),
            "{status:?}"
        );
    }
    end(&stage, daemon)
}

fn people_are_shown_no_counts() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    client.inject_as("shown", all_of(PORT).on(&stage.target))?;
    let shown = run_command(chaos_to(daemon.socket(), ["get", "shown"])?, "")?;
    ensure!(shown.code == 0 && shown.out.contains("occupy tcp+udp 8080"), "{shown:?}");
    ensure!(!shown.out.contains("matched") && !shown.out.contains("seed"), "{shown:?}");
    client.recover("shown")?;
    let own = own_binary()?;
    let own = own.to_str().context("the path of this program is no text")?;
    let occupy = ["exec", "network", "occupy", "--port", "8080", "--summary", "--", own];
    let words = [&occupy[..], &["child", "exit", "0"]].concat();
    let ran = run_command(chaos(Place::default().netns(&stage.net.near)?, words)?, "")?;
    ensure!(ran.code == 0 && ran.err.trim() == "chaos: network occupy tcp 8080", "{ran:?}");
    end(&stage, daemon)
}

fn a_command_cannot_bind() -> Result<()> {
    let stage = Stage::new()?;
    let own = own_binary()?;
    let own = own.to_str().context("the path of this program is no text")?;
    let place = Place::default().netns(&stage.net.near)?;
    let port = PORT.to_string();
    let words = [
        "exec",
        "network",
        "occupy",
        "--port",
        &port,
        "--protocol",
        "tcp,udp",
        "--",
        own,
        "victim",
    ];
    let command = Agent::over(chaos(place, words)?)?;
    none_binds(&command)?;
    ensure!(command.end()? == 0, "the command failed");
    all_bind(&stage.victim)?;
    stage.clean()
}
