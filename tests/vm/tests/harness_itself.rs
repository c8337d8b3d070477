//! The tests' own tools: without a fault nothing is lost, and nothing is left.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;

use crate::harness::{Family, Loss, Pins, Stage, Transport, check_pins, net, tests};

tests![
    every_flow_is_lossless_without_a_fault,
    a_stage_leaves_nothing,
    a_live_fault_is_no_residue_free_state,
    transfers_are_measured,
];

fn every_flow_is_lossless_without_a_fault() -> Result<()> {
    let stage = Stage::new()?;
    for family in net::families() {
        for transport in [Transport::Udp, Transport::Icmp, Transport::RawIcmp, Transport::Tcp] {
            for direction in [Direction::Out, Direction::In] {
                for agent in [&stage.victim, &stage.bystander] {
                    stage.flow(agent, transport, family, direction)?.all_arrive()?;
                }
            }
        }
        let outsider = stage.in_other_namespace(&stage.sibling)?;
        let ends = (net::address(family, 79, 1), net::address(family, 79, 2));
        use crate::harness::Probe as _;
        stage.udp("outsider", (&outsider, ends.0), (&stage.far, ends.1))?.all_arrive()?;
    }
    stage.clean()
}

fn a_stage_leaves_nothing() -> Result<()> {
    let stage = Stage::new()?;
    let (dir, scratch) = (stage.base.dir(), stage.scratch.path().to_owned());
    ensure!(
        stage.victim.cgroup()? == stage.target.path(),
        "the victim is in {}",
        stage.victim.cgroup()?
    );
    ensure!(dir.exists() && scratch.exists());
    drop(stage);
    ensure!(!dir.exists(), "the cgroup {} is left", dir.display());
    ensure!(!scratch.exists(), "the folder {} is left", scratch.display());
    Ok(())
}

/// Hooks, pins and tables are looked at: before tcx, what goes out has no pin of its own but a rule.
fn a_live_fault_is_no_residue_free_state() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    check_pins(stage.scratch.bpffs(), Pins::Engine)?;
    for direction in [Direction::Out, Direction::In] {
        let bare = stage.observe()?;
        let injection = client.inject(Loss::all().direction(direction).on(&stage.target))?;
        ensure!(stage.observe()?.same_as(&bare).is_err(), "no hook was seen");
        ensure!(check_pins(stage.scratch.bpffs(), Pins::Engine).is_err(), "no rule was seen");
        client.recover(&injection.id)?;
        stage.idle(&daemon)?;
    }
    stage.finish(daemon)
}

fn transfers_are_measured() -> Result<()> {
    let stage = Stage::new()?;
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    let patience = Duration::from_secs(20);
    let Some(connection) = stage.victim.connect(server.local, patience)? else {
        anyhow::bail!("no connection");
    };
    let exchanged = stage.victim.exchange(connection, 200_000, patience)?;
    ensure!(
        exchanged.complete && exchanged.received == 200_000 && exchanged.retransmits == 0,
        "{exchanged:?}"
    );
    let served = stage.far.served(server)?;
    ensure!(served.accepted == 1 && served.retransmits == 0, "{served:?}");
    Ok(())
}
