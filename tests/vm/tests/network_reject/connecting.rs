//! New connections, from the target and to it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;

use super::{ANSWERS, connects, errno, is_refused, reject};
use crate::harness::{Stage, balanced, needs, net, tests};

tests![the_target_cannot_connect_and_is_told_why, nobody_can_connect_to_the_target_and_is_told_why,];

fn the_target_cannot_connect_and_is_told_why() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let server = stage.far.listen(SocketAddr::new(net::far(family), 0))?.local;
        for answer in ANSWERS {
            connects(&stage.victim, server)?;
            let injection = client.inject(reject(answer).on(&stage.target))?;
            is_refused(&stage.victim, server, errno(answer, family))?;
            connects(&stage.bystander, server)?;
            let counters = balanced(&client.recover(&injection.id)?)?;
            ensure!(counters.fired >= 1, "{counters:?}");
            connects(&stage.victim, server)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn nobody_can_connect_to_the_target_and_is_told_why() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network reject")?;
    for family in net::families() {
        let address = SocketAddr::new(net::near(family), 0);
        let server = stage.victim.listen(address)?.local;
        let other = stage.bystander.listen(address)?.local;
        for answer in ANSWERS {
            connects(&stage.far, server)?;
            let spec = reject(answer).direction(Direction::In).on(&stage.target);
            let injection = client.inject(spec)?;
            is_refused(&stage.far, server, errno(answer, family))?;
            connects(&stage.far, other)?;
            client.recover(&injection.id)?;
            connects(&stage.far, server)?;
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
