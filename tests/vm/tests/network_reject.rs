//! `network reject`: who sends is told at once, in a cgroup and nowhere else.

#[path = "network_reject/calls.rs"]
mod calls;
#[path = "network_reject/connecting.rs"]
mod connecting;
#[path = "network_reject/established.rs"]
mod established;
#[path = "network_reject/messages.rs"]
mod messages;
#[path = "network_reject/open.rs"]
mod open;
#[path = "network_reject/places.rs"]
mod places;
#[path = "network_reject/shares.rs"]
mod shares;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, RejectAnswer};
use libtest_mimic::Trial;
use nix::errno::Errno;

use crate::harness::{Agent, Family, Network, Stage, net, skip};

/// How soon a refusal comes. The first SYN is repeated after a second, and that must not be what it takes.
const SOON: Duration = Duration::from_millis(900);

pub(crate) fn trials() -> Vec<Trial> {
    let groups = [
        calls::trials(),
        connecting::trials(),
        established::trials(),
        messages::trials(),
        open::trials(),
        places::trials(),
        shares::trials(),
    ];
    groups.into_iter().flatten().collect()
}

const ANSWERS: [RejectAnswer; 5] = [
    RejectAnswer::Reset,
    RejectAnswer::PortUnreachable,
    RejectAnswer::HostUnreachable,
    RejectAnswer::NetworkUnreachable,
    RejectAnswer::Prohibited,
];

fn reject(answer: RejectAnswer) -> Network {
    with(v1::network_reject::With::Answer(answer.into()))
}

fn with(with: v1::network_reject::With) -> Network {
    v1::NetworkReject { with: Some(with), ..Default::default() }.into()
}

/// What Linux makes of an answer.
fn errno(answer: RejectAnswer, family: Family) -> Errno {
    match (answer, family) {
        (RejectAnswer::HostUnreachable, _) | (RejectAnswer::Prohibited, Family::V4) => {
            Errno::EHOSTUNREACH
        }
        (RejectAnswer::NetworkUnreachable, _) => Errno::ENETUNREACH,
        (RejectAnswer::Prohibited, Family::V6) => Errno::EACCES,
        (RejectAnswer::Unspecified | RejectAnswer::Reset | RejectAnswer::PortUnreachable, _) => {
            Errno::ECONNREFUSED
        }
    }
}

/// Where the far end serves.
fn server(stage: &Stage) -> Result<SocketAddr> {
    Ok(stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?.local)
}

/// Fails unless a connection is refused at once, and with this.
fn is_refused(agent: &Agent, to: SocketAddr, with: Errno) -> Result<()> {
    // Where there is no `fq` in which an ICMP answer could wait, it is the second one that is heard.
    let within = if skip::own_machine() { SOON } else { 3 * SOON };
    let refusal = agent.refusal(to, within)?;
    ensure!(refusal == Some(with), "connecting to {to}: {refusal:?} came instead of {with}");
    Ok(())
}

/// Fails unless a connection comes about.
fn connects(agent: &Agent, to: SocketAddr) -> Result<()> {
    let refusal = agent.refusal(to, Duration::from_secs(10))?;
    ensure!(refusal.is_none(), "connecting to {to} failed with {refusal:?}");
    Ok(())
}
