//! Where it works besides the usual wire, and that it goes on.

use std::net::SocketAddr;

use anyhow::Result;
use chaos_common::proto::v1::{Direction, RejectAnswer};

use super::{ANSWERS, connects, errno, is_refused, reject, server};
use crate::harness::{Agent, Family, Place, Stage, needs, net, tests};

tests![out_over_the_loopback, in_over_the_loopback, a_nested_cgroup_has_the_rules_of_those_above,];

fn out_over_the_loopback() -> Result<()> {
    over_the_loopback(Direction::Out)
}

fn in_over_the_loopback() -> Result<()> {
    over_the_loopback(Direction::In)
}

/// Each way between the target and the bystander, on one machine.
fn over_the_loopback(direction: Direction) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let address = SocketAddr::new(net::loopback(family), 0);
        let mine = stage.victim.listen(address)?.local;
        let other = stage.bystander.listen(address)?.local;
        let (from, to) = match direction {
            Direction::In => (&stage.bystander, mine),
            Direction::Unspecified | Direction::Out | Direction::Both => (&stage.victim, other),
        };
        for answer in ANSWERS {
            let injection = client.inject(reject(answer).direction(direction).on(&stage.target))?;
            is_refused(from, to, errno(answer, family))?;
            connects(&stage.bystander, other)?;
            client.recover(&injection.id)?;
            connects(from, to)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_nested_cgroup_has_the_rules_of_those_above() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    let inner = stage.target.child("inner")?;
    let agent = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    let server = server(&stage)?;
    let outer = client.inject(reject(RejectAnswer::HostUnreachable).on(&stage.target))?;
    let inside = client.inject(reject(RejectAnswer::Reset).on(&inner))?;
    is_refused(&agent, server, errno(RejectAnswer::HostUnreachable, Family::V4))?;
    client.recover(&outer.id)?;
    is_refused(&agent, server, errno(RejectAnswer::Reset, Family::V4))?;
    connects(&stage.victim, server)?;
    client.recover(&inside.id)?;
    connects(&agent, server)?;
    drop(agent);
    drop(inner);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
