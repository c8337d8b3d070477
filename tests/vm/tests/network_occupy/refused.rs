//! Calls that fail: the target cannot bind to some ports, and nobody has them.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, End, Firing, Protocol, firing::What, watch_event::Event};
use nix::errno::Errno;

use super::{
    PORT, SOON, all_bind, at, end, is_free, is_taken, listen, none_binds, occupy, patient, range,
    ready, ways,
};
use crate::{
    harness::{
        Agent, Client, Family, Network, Place, Settings, Stage, active, balanced, chaos,
        needs_aspect, net, own_binary, poll, reason_against, refused, skip, tests,
    },
    victim::PortOptions,
};

tests![
    the_target_cannot_bind_and_everybody_else_can,
    a_port_that_somebody_has_may_be_among_them,
    only_at_this_address,
    a_thousand_ports_each_by_itself,
    other_protocols_and_port_0_are_free,
    what_is_nested_is_asked_from_above,
    a_budget_of_calls_is_exact,
    a_share_of_calls,
    a_target_without_processes_is_one_too,
    a_refusal_is_told,
    it_ends_on_time,
    a_daemon_that_comes_back_goes_on,
    killed_when_its_programs_are_attached,
    an_old_kernel_says_what_it_cannot,
    a_command_cannot_bind,
];

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

fn refuse(occupy: v1::NetworkOccupy) -> Network {
    v1::NetworkOccupy { refuse: true, ..occupy }.into()
}

/// TCP and UDP, both families.
fn all_of(port: u16) -> Network {
    refuse(occupy(&BOTH, &[range(port, port)]))
}

fn unsupported(client: &Client) -> Result<Option<String>> {
    reason_against(client, "network occupy", |aspect| aspect == "refuse")
}

/// Ends the test on a kernel that is too old.
fn needs_refusal(client: &Client) -> Result<()> {
    needs_aspect(client, "network occupy", "refuse")
}

fn the_target_cannot_bind_and_everybody_else_can() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let inner = stage.target.child("inner")?;
    let nested = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    all_bind(&stage.victim)?;
    let injection = client.inject(all_of(PORT).on(&stage.target))?;
    active(&injection)?;
    none_binds(&stage.victim)?;
    none_binds(&nested)?;
    all_bind(&stage.bystander)?;
    is_free(&stage.victim, PORT + 1)?;
    is_free(&stage.victim, PORT - 1)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 2 * ways().len() as u64, "{counters:?}");
    ensure!(counters.matched == counters.fired, "other calls were counted: {counters:?}");
    all_bind(&nested)?;
    drop(nested);
    drop(inner);
    end(&stage, daemon)
}

fn a_port_that_somebody_has_may_be_among_them() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let address = at(net::near(Family::V4));
    let server = stage.victim.listen(SocketAddr::new(net::near(Family::V4), 0))?;
    let other = listen(&stage.bystander, address)?.context("it is free")?;
    let ports = [range(PORT, PORT), range(server.local.port(), server.local.port())];
    let injection = client.inject(refuse(occupy(&[], &ports)).on(&stage.target))?;
    is_taken(&stage.victim, PORT)?;
    is_taken(&stage.victim, server.local.port())?;
    // Whoever had a port goes on to serve.
    for serving in [server.local, address] {
        let refusal = stage.far.refusal(serving, SOON)?;
        ensure!(refusal.is_none(), "{serving}: {refusal:?}");
    }
    client.recover(&injection.id)?;
    stage.victim.close(server)?;
    stage.bystander.close(other)?;
    end(&stage, daemon)
}

/// Which of these the target can bind to while a port is refused at an address: as where the port is taken there.
fn only_at_this_address() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let (any4, near4) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), net::near(Family::V4));
    let (any6, near6) = (IpAddr::from(Ipv6Addr::UNSPECIFIED), net::near(Family::V6));
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let IpAddr::V4(near) = near4 else { bail!("{near4} is none of IPv4") };
    let mapped = IpAddr::from(near.to_ipv6_mapped());
    let binds = [
        (any4, false),
        (near4, false),
        (loopback, false),
        (any6, false),
        (any6, true),
        (near6, false),
        (IpAddr::from(Ipv6Addr::LOCALHOST), false),
        (mapped, true),
    ];
    for (refused, hit) in [
        (any4, [true, true, true, false, true, false, false, true]),
        (near4, [true, true, false, false, true, false, false, true]),
        (any6, [false, false, false, true, true, true, true, false]),
        (near6, [false, false, false, true, true, true, false, false]),
    ] {
        let address = Some(refused.to_string());
        let spec = refuse(v1::NetworkOccupy { address, ..occupy(&BOTH, &[range(PORT, PORT)]) });
        let injection = client.inject(spec.on(&stage.target))?;
        for ((address, dual), is_hit) in binds.into_iter().zip(hit) {
            if address.is_ipv6() && !net::families().contains(&Family::V6) {
                continue;
            }
            for stream in [true, false] {
                let options = PortOptions { dual, ..Default::default() };
                let bound = stage.victim.bind(stream, at(address), options)?;
                let is_refused = matches!(bound, Err(Errno::EADDRINUSE));
                let case = format!("{refused}: {address}, dual {dual}, stream {stream}: {bound:?}");
                ensure!(is_refused == is_hit && (is_hit || bound.is_ok()), "{case}");
                if let Ok(socket) = bound {
                    stage.victim.close(socket)?;
                }
            }
        }
        client.recover(&injection.id)?;
    }
    end(&stage, daemon)
}

fn a_thousand_ports_each_by_itself() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let odd: Vec<_> = (10_000..10_512).map(|n| range(2 * n + 1, 2 * n + 1)).collect();
    let more = [range(30_000, 30_510), range(65_535, 65_535)];
    let injection =
        client.inject(refuse(occupy(&[], &[odd, more.to_vec()].concat())).on(&stage.target))?;
    for port in [20_001, 20_003, 20_511, 21_023, 30_000, 30_255, 30_256, 30_510, 65_535] {
        is_taken(&stage.victim, port)?;
    }
    for port in [20_000, 20_002, 20_512, 21_022, 21_025, 29_999, 30_511, 65_534] {
        is_free(&stage.victim, port)?;
    }
    client.recover(&injection.id)?;
    end(&stage, daemon)
}

fn other_protocols_and_port_0_are_free() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let spec = refuse(occupy(&[Protocol::Udp], &[range(PORT, PORT)]));
    let injection = client.inject(spec.on(&stage.target))?;
    is_free(&stage.victim, PORT)?;
    let datagram = stage.victim.bind(false, at(net::near(Family::V4)), PortOptions::default())?;
    ensure!(matches!(datagram, Err(Errno::EADDRINUSE)), "{datagram:?}");
    client.recover(&injection.id)?;
    let spec = refuse(occupy(&BOTH, &[range(32_768, 33_791)]));
    let injection = client.inject(spec.on(&stage.target))?;
    for family in net::families() {
        for stream in [true, false] {
            let anywhere = SocketAddr::new(net::near(family), 0);
            let bound = stage.victim.bind(stream, anywhere, PortOptions::default())?;
            stage.victim.close(bound.with_context(|| format!("{anywhere}, {stream}"))?)?;
        }
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 0, "{counters:?}");
    end(&stage, daemon)
}

fn what_is_nested_is_asked_from_above() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let inner = stage.target.child("inner")?;
    let agent = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    let inside = client.inject(all_of(PORT).on(&inner))?;
    is_taken(&agent, PORT)?;
    is_free(&stage.victim, PORT)?;
    let above = client.inject(all_of(PORT).on(&stage.target))?;
    is_taken(&agent, PORT)?;
    is_taken(&stage.victim, PORT)?;
    let counters = balanced(&client.get(&inside.id)?)?;
    ensure!(counters.fired == 1, "asked although the one above had fired: {counters:?}");
    let counters = balanced(&client.recover(&above.id)?)?;
    ensure!(counters.fired == 2, "{counters:?}");
    is_taken(&agent, PORT)?;
    is_free(&stage.victim, PORT)?;
    client.recover(&inside.id)?;
    is_free(&agent, PORT)?;
    drop(agent);
    drop(inner);
    end(&stage, daemon)
}

fn a_budget_of_calls_is_exact() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let injection = client.inject(all_of(PORT).times(3).on(&stage.target))?;
    for _ in 0..3 {
        is_taken(&stage.victim, PORT)?;
    }
    is_free(&stage.victim, PORT)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.over_budget == 1, "{counters:?}");
    end(&stage, daemon)
}

fn a_share_of_calls() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let round = || {
        let half = v1::NetworkOccupy {
            percent: Some(50.0),
            ..occupy(&[Protocol::Tcp], &[range(PORT, PORT)])
        };
        let injection = client.inject(refuse(half).seed(7).on(&stage.target))?;
        let tries = (0..40).map(|_| match listen(&stage.victim, at(net::near(Family::V4)))? {
            Ok(socket) => stage.victim.close(socket).map(|()| false),
            Err(errno) => {
                ensure!(errno == Errno::EADDRINUSE, "{errno}");
                Ok(true)
            }
        });
        let refused = tries.collect::<Result<Vec<_>>>()?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == 40, "{counters:?}");
        Ok(refused)
    };
    let first = round()?;
    let refused = first.iter().filter(|refused| **refused).count();
    ensure!((8..=32).contains(&refused), "{refused} of 40 were refused");
    ensure!(round()? == first, "the same seed gave something else");
    end(&stage, daemon)
}

/// No network namespace is needed, and whoever comes is hit from the first call on.
fn a_target_without_processes_is_one_too() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let empty = stage.target.child("empty")?;
    let injection = client.inject(all_of(PORT).on(&empty))?;
    let agent = Agent::start(Place::default().cgroup(&empty)?.netns(&stage.net.other)?)?;
    is_taken(&agent, PORT)?;
    client.recover(&injection.id)?;
    is_free(&agent, PORT)?;
    drop(agent);
    drop(empty);
    end(&stage, daemon)
}

fn a_refusal_is_told() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let watcher = daemon.client()?;
    let injection = client.inject(all_of(PORT).on(&stage.target))?;
    let mut watch = watcher.watch(&injection.id)?;
    for family in net::families() {
        let address = at(net::near(family));
        let told = poll::until("a firing", SOON, || {
            ensure!(listen(&stage.victim, address)?.is_err(), "{address} is free");
            while let Some(event) = watch.next(Duration::from_millis(200))? {
                if let Event::Firing(firing) = event
                    && packet(&firing)?.local_address == address.ip().to_string()
                {
                    return Ok(Some(firing));
                }
            }
            Ok(None)
        })?;
        let packet = packet(&told)?;
        let seen = (packet.protocol, packet.local_port, packet.remote_address.as_str());
        ensure!(seen == (6, u32::from(PORT), ""), "{told:?}");
        let process = told.process.context("no process is named")?;
        ensure!(process.pid == stage.victim.pid(), "{process:?}");
    }
    client.recover(&injection.id)?;
    end(&stage, daemon)
}

fn packet(firing: &Firing) -> Result<&v1::Packet> {
    let Some(What::Packet(packet)) = &firing.what else { bail!("nothing is told: {firing:?}") };
    Ok(packet)
}

fn it_ends_on_time() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let brief = all_of(PORT).lasting(Duration::from_secs(2)).on(&stage.target);
    let injection = client.inject(brief)?;
    is_taken(&stage.victim, PORT)?;
    poll::until_ok("the port to be free", SOON, || is_free(&stage.victim, PORT))?;
    poll::until_ok("the end", SOON, || {
        let ended = client.get(&injection.id)?;
        ensure!(ended.end() == End::Expired, "{ended:?}");
        Ok(())
    })?;
    end(&stage, daemon)
}

fn a_daemon_that_comes_back_goes_on() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(patient())?;
    needs_refusal(&daemon.client()?)?;
    daemon.client()?.inject_as("kept", all_of(PORT).on(&stage.target))?;
    is_taken(&stage.victim, PORT)?;
    daemon.kill()?;
    // Unlike a port that is held.
    is_taken(&stage.victim, PORT)?;
    let daemon = stage.daemon_with(patient())?;
    let client = daemon.client()?;
    active(&client.get("kept")?)?;
    is_taken(&stage.victim, PORT)?;
    all_bind(&stage.bystander)?;
    let counters = balanced(&client.recover("kept")?)?;
    ensure!(counters.fired == 3, "{counters:?}");
    end(&stage, daemon)
}

fn killed_when_its_programs_are_attached() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(Settings { failpoint: Some("hook-attached"), ..patient() })?;
    let client = daemon.client()?;
    needs_refusal(&client)?;
    let answer = client.inject_as("crashed", all_of(PORT).on(&stage.target));
    ensure!(answer.is_err(), "the daemon answered: {answer:?}");
    daemon.wait_killed()?;
    let daemon = stage.daemon_with(patient())?;
    let client = daemon.client()?;
    active(&client.get("crashed")?)?;
    none_binds(&stage.victim)?;
    client.recover("crashed")?;
    end(&stage, daemon)
}

fn an_old_kernel_says_what_it_cannot() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let answer = client.inject(all_of(PORT).on(&stage.target));
    if let Some(reason) = unsupported(&client)? {
        ensure!(skip::kernel() < (6, 1), "{reason}");
        let status = refused(answer, "UNSUPPORTED")?;
        ensure!(status.message().contains("EPERM only"), "{status:?}");
    } else {
        client.recover(&answer?.id)?;
    }
    end(&stage, daemon)
}

fn a_command_cannot_bind() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    needs_refusal(&client)?;
    let own = own_binary()?;
    let own = own.to_str().context("the path of this program is no text")?;
    let place = Place::default().netns(&stage.net.near)?;
    let flags =
        ["exec", "network", "occupy", "--refuse", "--port", "8080", "--protocol", "tcp,udp"];
    let words = [&flags[..], &["--", own, "victim"]].concat();
    let command = Agent::over(chaos(place, words)?)?;
    none_binds(&command)?;
    all_bind(&stage.bystander)?;
    ensure!(command.end()? == 0, "the command failed");
    end(&stage, daemon)
}
