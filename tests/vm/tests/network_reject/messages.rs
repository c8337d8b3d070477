//! What has no connection: UDP, echo requests.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{Direction, RejectAnswer};
use nix::errno::Errno;

use super::{ANSWERS, errno, reject};
use crate::harness::{Agent, Family, Socket, Stage, Transport, needs, net, poll, tests};
use crate::victim::UdpOptions;

tests![
    a_datagram_out_is_answered,
    a_datagram_in_is_answered,
    an_echo_request_is_answered,
    an_echo_request_cannot_be_reset,
];

/// What a connected socket without `IP_RECVERR` is told.
fn told(answer: RejectAnswer, family: Family) -> i32 {
    match answer {
        // Linux takes these for what may pass.
        RejectAnswer::HostUnreachable | RejectAnswer::NetworkUnreachable => 0,
        RejectAnswer::Unspecified
        | RejectAnswer::Reset
        | RejectAnswer::PortUnreachable
        | RejectAnswer::Prohibited => errno(answer, family) as i32,
    }
}

fn connected(agent: &Agent, from: std::net::IpAddr, to: SocketAddr) -> Result<Socket> {
    let options = UdpOptions { connect: Some(to), ..Default::default() };
    agent.udp_with(SocketAddr::new(from, 0), options)
}

/// Sends one datagram, and fails unless that is what the sender hears of it.
fn hears(stage: &Stage, agent: &Agent, socket: Socket, expected: i32) -> Result<()> {
    let sent = agent.send_sized(socket, None, 0, 1, 0)?;
    ensure!(sent.failed.is_empty(), "{sent:?}");
    stage.settle()?;
    let pending = agent.errors(socket)?.pending;
    let name = Errno::from_raw(pending);
    ensure!(pending == expected, "{name} came, not {}", Errno::from_raw(expected));
    Ok(())
}

fn a_datagram_out_is_answered() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let receiver = stage.far.udp(net::far(family))?;
        let mine = connected(&stage.victim, net::near(family), receiver.local)?;
        let other = connected(&stage.bystander, net::near(family), receiver.local)?;
        for answer in ANSWERS {
            let injection = client.inject(reject(answer).on(&stage.target))?;
            hears(&stage, &stage.victim, mine, told(answer, family))?;
            let came = stage.far.take(receiver)?;
            ensure!(came.is_empty(), "{answer:?}: it arrived");
            hears(&stage, &stage.bystander, other, 0)?;
            client.recover(&injection.id)?;
            let came = stage.far.take_within(receiver, 1, super::SOON)?;
            ensure!(came.len() == 1, "the bystander's did not arrive: {came:?}");
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_datagram_in_is_answered() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let mine = stage.victim.udp(net::near(family))?;
        let other = stage.bystander.udp(net::near(family))?;
        let to_mine = connected(&stage.far, net::far(family), mine.local)?;
        let to_other = connected(&stage.far, net::far(family), other.local)?;
        for answer in ANSWERS {
            let spec = reject(answer).direction(Direction::In).on(&stage.target);
            let injection = client.inject(spec)?;
            hears(&stage, &stage.far, to_mine, told(answer, family))?;
            hears(&stage, &stage.far, to_other, 0)?;
            client.recover(&injection.id)?;
        }
        ensure!(stage.victim.take(mine)?.is_empty(), "some arrived");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The request's own checksum is computed before it is sent, and so the answer's is looked at.
fn an_echo_request_is_answered() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let counter = match family {
            Family::V4 => "Icmp:InDestUnreachs",
            Family::V6 => "Icmp6InDestUnreachs",
        };
        let ping = stage.flow(&stage.victim, Transport::Icmp, family, Direction::Out)?;
        ping.all_arrive()?;
        let before = stage.bystander.snmp(counter)?;
        let injection = client.inject(reject(RejectAnswer::HostUnreachable).on(&stage.target))?;
        ping.round(20, 0)?;
        poll::until_ok("the errors to be counted", super::SOON, || {
            let came = stage.bystander.snmp(counter)? - before;
            ensure!(came == 20, "{came} errors came");
            Ok(())
        })?;
        client.recover(&injection.id)?;
        ping.all_arrive()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_echo_request_cannot_be_reset() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let ping = stage.flow(&stage.victim, Transport::Icmp, Family::V4, Direction::Out)?;
    let other = stage.flow(&stage.bystander, Transport::Icmp, Family::V4, Direction::Out)?;
    let injection = client.inject(reject(RejectAnswer::Reset).on(&stage.target))?;
    ping.none_arrive()?;
    other.all_arrive()?;
    client.recover(&injection.id)?;
    ping.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
