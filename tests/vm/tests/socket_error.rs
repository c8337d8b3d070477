//! `socket error`: what is done to sockets fails.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};

use crate::harness::{
    Client, Family, Probe as _, Stage, active, balanced, call, caveats, fails, needs_aspect, net,
    number, outcome, refused, sockets, tests, trial, works,
};
use crate::victim::Arg;

const KIND: &str = "socket error";
const PATIENCE: Duration = Duration::from_secs(5);

tests![
    connecting_fails_towards_those_who_are_meant,
    making_binding_listening_and_accepting_fail,
    sending_and_receiving_fail_on_what_is_open,
    unix_sockets_are_told_apart,
    what_is_open_is_reset_when_asked,
];

/// Those of calls that connect.
pub(crate) fn by_address() -> Vec<Trial> {
    type Case = (&'static str, fn() -> Result<()>);
    let cases: [Case; 3] = [
        (
            "connecting_fails_towards_those_who_are_meant",
            connecting_fails_towards_those_who_are_meant,
        ),
        ("sending_is_no_connecting", sending_is_no_connecting),
        ("what_is_not_known_there_is_refused", what_is_not_known_there_is_refused),
    ];
    cases.map(|(name, test)| trial(module_path!(), name, test)).into()
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
    let both = |partial: bool| {
        let fault = sockets(&["connect", "listen"], &errno, |error| error.partial = partial);
        fault.on(&stage.target)
    };
    let status = refused(client.inject(both(false)), "UNSUPPORTED")?;
    ensure!(status.message().contains("listen: "), "{status:?}");
    let injection = client.inject(both(true))?;
    active(&injection)?;
    client.recover(&injection.id)?;
    let unix = sockets(&["connect"], &errno, |error| error.families = vec!["unix".into()]);
    let status = refused(client.inject(unix.on(&stage.target)), "UNSUPPORTED")?;
    ensure!(status.message().contains("IPv4 and IPv6"), "{status:?}");
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
        let refusal = |agent: &crate::harness::Agent, to| agent.refusal(to, PATIENCE);
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
    needs_aspect(&client, KIND, "send")?;
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
    let open = |agent: &crate::harness::Agent| -> Result<_> {
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
