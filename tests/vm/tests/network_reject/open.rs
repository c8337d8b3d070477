//! Connections that are open when it begins are reset, at both ends and whether anybody uses them or not.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use chaos_common::proto::v1::{self, Direction, End, RejectAnswer, network_reject::With};
use nix::errno::Errno;

use super::{connects, is_refused, server};
use crate::harness::{
    Agent, Client, Daemon, Family, Network, Place, Settings, Socket, Stage, active, field, needs,
    needs_aspect, net, poll, reason_against, refused, skip, tests,
};

tests![
    idle_connections_are_reset_at_both_ends,
    a_server_that_listens_goes_on,
    an_ipv4_address_in_ipv6_is_one_of_ipv4,
    only_what_matches,
    a_share_of_connections_is_that_of_the_packets,
    in_every_namespace_of_the_target,
    connections_of_the_target_to_itself,
    looking_resets_nothing,
    not_again_after_a_restart,
    killed_when_they_are_reset,
    what_a_connection_does_not_tell_is_refused,
    a_kernel_that_cannot_says_so,
];

const SOON: Duration = Duration::from_secs(10);
/// Long enough for a reset to come, were there one.
const A_WHILE: Duration = Duration::from_millis(300);

const KIND: &str = "network reject";
const ASPECT: &str = "reset open";

fn reset_open() -> Network {
    v1::NetworkReject { reset_open: true, ..Default::default() }.into()
}

fn ready() -> Result<(Stage, Daemon, Client)> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, KIND)?;
    needs_aspect(&client, KIND, ASPECT)?;
    Ok((stage, daemon, client))
}

fn ready_with(settings: Settings) -> Result<(Stage, Daemon, Client)> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings)?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, ASPECT)?;
    Ok((stage, daemon, client))
}

fn end(stage: &Stage, daemon: Daemon) -> Result<()> {
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Opens a connection, and uses it once.
fn open(agent: &Agent, to: SocketAddr) -> Result<Socket> {
    let socket = agent.connect(to, SOON)?.context("no connection")?;
    ensure!(agent.exchange(socket, 1000, SOON)?.complete, "nothing comes back");
    Ok(socket)
}

/// At the target's end.
fn is_ended(agent: &Agent, socket: Socket) -> Result<()> {
    let fate = agent.fate(socket, SOON)?;
    ensure!(
        matches!(fate, Some(Errno::ECONNABORTED | Errno::ECONNRESET)),
        "it ended with {fate:?}"
    );
    agent.close(socket)
}

/// At the other end, which hears a reset.
fn is_reset(agent: &Agent, socket: Socket) -> Result<()> {
    let fate = agent.fate(socket, SOON)?;
    ensure!(fate == Some(Errno::ECONNRESET), "it ended with {fate:?}");
    agent.close(socket)
}

fn goes_on(agent: &Agent, socket: Socket) -> Result<()> {
    let fate = agent.fate(socket, A_WHILE)?;
    ensure!(fate.is_none(), "it ended with {fate:?}");
    ensure!(agent.exchange(socket, 1000, SOON)?.complete, "nothing comes back");
    agent.close(socket)
}

/// How many of a server's connections are whole; the others heard that they are not.
fn open_at(agent: &Agent, server: Socket, wanted: usize) -> Result<()> {
    poll::until_ok("the other ends to be reset", SOON, || {
        let open = agent.served(server)?.open;
        ensure!(open == wanted, "{open} connections are open, not {wanted}");
        Ok(())
    })
}

fn idle_connections_are_reset_at_both_ends() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let inner = stage.target.child("inner")?;
    let nested = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    for direction in [Direction::Out, Direction::In, Direction::Both] {
        for family in net::families() {
            let far = stage.far.listen(SocketAddr::new(net::far(family), 0))?;
            let near = SocketAddr::new(net::near(family), 0);
            let (own, others) = (stage.victim.listen(near)?, stage.bystander.listen(near)?);
            let mine = [open(&stage.victim, far.local)?, open(&nested, far.local)?];
            let other = open(&stage.bystander, far.local)?;
            let (to_own, to_others) =
                (open(&stage.far, own.local)?, open(&stage.far, others.local)?);
            let injection = client.inject(reset_open().direction(direction).on(&stage.target))?;
            active(&injection)?;
            ensure!(injection.connections_reset == Some(3), "{injection:?}");
            is_ended(&stage.victim, mine[0])?;
            is_ended(&nested, mine[1])?;
            open_at(&stage.far, far, 1)?;
            is_reset(&stage.far, to_own)?;
            open_at(&stage.victim, own, 0)?;
            goes_on(&stage.far, to_others)?;
            goes_on(&stage.bystander, other)?;
            // It goes on with packets, and nothing is reset twice.
            if direction != Direction::In {
                is_refused(&stage.victim, far.local, Errno::ECONNREFUSED)?;
            }
            let now = client.get(&injection.id)?;
            ensure!(now.connections_reset == Some(3), "{now:?}");
            client.recover(&injection.id)?;
            connects(&stage.victim, far.local)?;
            for (agent, socket) in
                [(&stage.far, far), (&stage.victim, own), (&stage.bystander, others)]
            {
                agent.close(socket)?;
            }
        }
    }
    drop(nested);
    drop(inner);
    end(&stage, daemon)
}

/// It is no connection, and the next one finds it.
fn a_server_that_listens_goes_on() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let own = stage.victim.listen(SocketAddr::new(net::near(Family::V4), 0))?;
    let injection = client.inject(reset_open().on(&stage.target))?;
    ensure!(injection.connections_reset == Some(0), "{injection:?}");
    client.recover(&injection.id)?;
    connects(&stage.far, own.local)?;
    end(&stage, daemon)
}

fn an_ipv4_address_in_ipv6_is_one_of_ipv4() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    skip::needs_ipv6()?;
    let server = server(&stage)?;
    let IpAddr::V4(address) = server.ip() else { bail!("no IPv4 address") };
    let mapped = SocketAddr::new(address.to_ipv6_mapped().into(), server.port());
    let (mine, other) = (open(&stage.victim, mapped)?, open(&stage.bystander, mapped)?);
    for (remote, is_hit) in [("10.78.0.0/16", false), ("10.77.0.2", true)] {
        let injection = client.inject(reset_open().remote(&[remote]).on(&stage.target))?;
        let count = injection.connections_reset;
        ensure!(count == Some(u64::from(is_hit)), "{remote}: {count:?}");
        client.recover(&injection.id)?;
    }
    is_ended(&stage.victim, mine)?;
    goes_on(&stage.bystander, other)?;
    end(&stage, daemon)
}

fn only_what_matches() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let (hit, other) = (server(&stage)?, server(&stage)?);
    let (first, second) = (open(&stage.victim, hit)?, open(&stage.victim, other)?);
    let own = first.local.port();
    for (spec, count) in [
        (reset_open().remote(&["10.0.0.0/8"]).except(&["10.77.0.0/16"]), 0),
        (reset_open().except(&["10.77.0.2"]), 0),
        (reset_open().local_ports(1, 2), 0),
        (reset_open().remote_port(hit.port()).local_ports(own, own).remote(&["10.77.0.0/16"]), 1),
    ] {
        let injection = client.inject(spec.on(&stage.target))?;
        ensure!(injection.connections_reset == Some(count), "{injection:?}");
        client.recover(&injection.id)?;
    }
    is_ended(&stage.victim, first)?;
    goes_on(&stage.victim, second)?;
    end(&stage, daemon)
}

/// The packets of what is left belong to connections that the rule is not about.
fn a_share_of_connections_is_that_of_the_packets() -> Result<()> {
    const COUNT: u64 = 40;
    let (stage, daemon, client) = ready()?;
    for family in net::families() {
        let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?.local;
        let connections = (0..COUNT).map(|_| open(&stage.victim, server));
        let connections = connections.collect::<Result<Vec<_>>>()?;
        let half = reset_open().direction(Direction::Both);
        let half = half.only(|filter| filter.connection_percent = Some(50.0)).seed(7);
        let injection = client.inject(half.on(&stage.target))?;
        let mut ended = 0;
        for socket in connections {
            // The reset came before the answer to the request.
            if stage.victim.fate(socket, Duration::ZERO)?.is_some() {
                ended += 1;
                stage.victim.close(socket)?;
            } else {
                ensure!(stage.victim.exchange(socket, 1000, SOON)?.complete, "it was meant");
                stage.victim.close(socket)?;
            }
        }
        ensure!(injection.connections_reset == Some(ended), "{ended} of {injection:?}");
        ensure!((8..=32).contains(&ended), "{ended} of {COUNT} were reset");
        client.recover(&injection.id)?;
    }
    end(&stage, daemon)
}

fn in_every_namespace_of_the_target() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let elsewhere = stage.in_other_namespace(&stage.target)?;
    let bystander = stage.in_other_namespace(&stage.sibling)?;
    let here = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?.local;
    let there = stage.far.listen(SocketAddr::new(net::address(Family::V4, 79, 2), 0))?.local;
    let mine = (open(&stage.victim, here)?, open(&elsewhere, there)?);
    let other = open(&bystander, there)?;
    let injection = client.inject(reset_open().on(&stage.target))?;
    ensure!(injection.connections_reset == Some(2), "{injection:?}");
    is_ended(&stage.victim, mine.0)?;
    is_ended(&elsewhere, mine.1)?;
    goes_on(&bystander, other)?;
    client.recover(&injection.id)?;
    end(&stage, daemon)
}

/// Both ends are the target's, and whichever is reset first tells the other.
fn connections_of_the_target_to_itself() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let server = stage.victim.listen(SocketAddr::new(net::loopback(Family::V4), 0))?;
    let connection = open(&stage.victim, server.local)?;
    let injection = client.inject(reset_open().on(&stage.target))?;
    ensure!(matches!(injection.connections_reset, Some(1 | 2)), "{injection:?}");
    is_ended(&stage.victim, connection)?;
    open_at(&stage.victim, server, 0)?;
    client.recover(&injection.id)?;
    connects(&stage.victim, server.local)?;
    end(&stage, daemon)
}

fn looking_resets_nothing() -> Result<()> {
    let (stage, daemon, client) = ready()?;
    let server = server(&stage)?;
    let mine = open(&stage.victim, server)?;
    let plan = client.plan(reset_open().on(&stage.target))?;
    let first = plan.effects.first().context("no effects")?;
    ensure!(first.starts_with("reset the TCP connections"), "{plan:?}");
    goes_on(&stage.victim, mine)?;
    end(&stage, daemon)
}

fn patient() -> Settings {
    Settings { lease: Some(Duration::from_secs(20)), ..Settings::default() }
}

fn not_again_after_a_restart() -> Result<()> {
    let (stage, daemon, client) = ready_with(patient())?;
    let server = server(&stage)?;
    let mine = open(&stage.victim, server)?;
    let injection = client.inject(reset_open().times(1).on(&stage.target))?;
    is_ended(&stage.victim, mine)?;
    // The one answer that it has.
    is_refused(&stage.victim, server, Errno::ECONNREFUSED)?;
    let later = open(&stage.victim, server)?;
    daemon.kill()?;
    let daemon = stage.daemon_with(patient())?;
    let client = daemon.client()?;
    let now = client.get(&injection.id)?;
    active(&now)?;
    ensure!(now.connections_reset.is_none(), "{now:?}");
    // Nor when it is renewed.
    client.renew(&injection.id, Some(Duration::from_secs(60)))?;
    goes_on(&stage.victim, later)?;
    client.recover(&injection.id)?;
    end(&stage, daemon)
}

/// It had no rule yet, so it is over; what was reset stays so.
fn killed_when_they_are_reset() -> Result<()> {
    let failing = Settings { failpoint: Some("connections-reset"), ..patient() };
    let (stage, daemon, client) = ready_with(failing)?;
    let server = server(&stage)?;
    let mine = open(&stage.victim, server)?;
    let answer = client.inject_as("crashed", reset_open().on(&stage.target));
    ensure!(answer.is_err(), "the daemon answered: {answer:?}");
    daemon.wait_killed()?;
    is_ended(&stage.victim, mine)?;
    let daemon = stage.daemon_with(patient())?;
    let ended = daemon.client()?.get("crashed")?;
    ensure!(ended.end() == End::Interrupted, "{ended:?}");
    connects(&stage.victim, server)?;
    end(&stage, daemon)
}

fn what_a_connection_does_not_tell_is_refused() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let with =
        |with| v1::NetworkReject { reset_open: true, with: Some(with), ..Default::default() };
    let some = v1::NetworkReject { reset_open: true, percent: Some(5.0), ..Default::default() };
    for (spec, wrong) in [
        (reset_open().only(|filter| filter.dscp = vec![46]), "filter.dscp"),
        (reset_open().only(|filter| filter.interface = "near0".into()), "filter.interface"),
        (reset_open().protocol(v1::Protocol::Udp), "filter.protocols"),
        (some.into(), "percent"),
        (with(With::Answer(RejectAnswer::Prohibited.into())).into(), "resetOpen"),
        (with(With::Connect("EPERM".into())).into(), "resetOpen"),
    ] {
        let spec: Network = spec;
        let status = refused(client.inject(spec.on(&stage.target)), "INVALID_SPEC")?;
        let named = field(&status).context("no field is named")?;
        ensure!(named.ends_with(&format!("networkReject.{wrong}")), "{named}: {status:?}");
    }
    end(&stage, daemon)
}

fn a_kernel_that_cannot_says_so() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, KIND)?;
    let answer = client.inject(reset_open().on(&stage.target));
    if let Some(reason) = reason_against(&client, KIND, |aspect| aspect == ASPECT)? {
        let status = refused(answer, "UNSUPPORTED")?;
        ensure!(status.message().contains("this kernel"), "{status:?}: {reason}");
    } else {
        client.recover(&answer?.id)?;
    }
    end(&stage, daemon)
}
