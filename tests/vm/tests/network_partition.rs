//! `network partition`: nothing passes between a cgroup and others, and everything between all else.

#[path = "network_partition/beside.rs"]
mod beside;
#[path = "network_partition/others.rs"]
mod others;

use anyhow::Result;
use chaos_common::proto::v1::{self, Direction};
use libtest_mimic::Trial;

use crate::harness::{Family, Network, Probe as _, Stage, Transport, needs, net, phases, tests};

tests![nothing_passes_either_way, only_from_whom_it_is_cut_off];

pub(crate) fn all_trials() -> Vec<Trial> {
    [trials(), beside::trials(), others::trials()].into_iter().flatten().collect()
}

fn nothing_passes_either_way() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network partition")?;
    for family in net::families() {
        let flows = [Direction::Out, Direction::In]
            .map(|direction| stage.flow(&stage.victim, Transport::Udp, family, direction));
        let [out, inward] = flows;
        let (out, inward) = (out?, inward?);
        let bystander = stage.flow(&stage.bystander, Transport::Tcp, family, Direction::Out)?;
        let spec = Network::from(v1::NetworkPartition::default()).on(&stage.target);
        phases(&client, spec, &[&*out, &*inward], &[&*bystander])?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_from_whom_it_is_cut_off() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network partition")?;
    let to = |last| {
        let near = net::near(Family::V4);
        let far = net::address(Family::V4, 77, last);
        stage.udp(format!("to {far}"), (&stage.victim, near), (&stage.far, far))
    };
    let (cut, whole) = (to(2)?, to(3)?);
    let spec = Network::from(v1::NetworkPartition::default()).remote(&["10.77.0.2"]);
    phases(&client, spec.on(&stage.target), &[&cut], &[&whole])?;
    whole.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
