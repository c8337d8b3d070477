//! Traffic control that a user set up before or beside a fault.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;
use netlink_packet_route::tc::TcHandle;

use crate::harness::{Family, Loss, Probe as _, Stage, Transport, phases, refused, skip, tests};

tests![
    what_others_attached_stays,
    what_others_attach_meanwhile_stays,
    an_ingress_qdisc_stays_and_outgoing_loss_says_so,
];

/// The one place of the qdiscs `clsact` and `ingress`, and the two hooks of the former.
const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
const INGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff2 };
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };

/// Adds clsact with a filter each way.
fn a_users_clsact(stage: &Stage) -> Result<()> {
    let netlink = stage.net.near.netlink();
    netlink.add_qdisc("near0", "clsact", CLSACT, 0xffff)?;
    for parent in [INGRESS, EGRESS] {
        a_users_filter(stage, parent)?;
    }
    Ok(())
}

fn what_others_attached_stays() -> Result<()> {
    let mut stage = Stage::new()?;
    a_users_clsact(&stage)?;
    stage.net.near.netlink().add_qdisc("near0", "pfifo", TcHandle::ROOT, 0x10)?;
    stage.begin_here()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    phases(&client, Loss::all().on(&stage.target), &[&victim], &[&bystander])?;
    stage.idle(&daemon)?;
    client.inject(Loss::all().on(&stage.target))?;
    stage.finish(daemon)
}

/// A user who comes second finds that a daemon made the clsact already, and shares it.
fn what_others_attach_meanwhile_stays() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let victim = stage.victim_udp()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let netlink = stage.net.near.netlink();
    if netlink.add_qdisc("near0", "clsact", CLSACT, 0xffff).is_ok() {
        ensure!(skip::kernel() >= (6, 6), "nothing was attached by clsact");
    }
    if let Err(error) = netlink.add_filter("near0", EGRESS, 7) {
        client.recover(&injection.id)?;
        return skip(format!("no filter to add as a user: {error:#}"));
    }
    victim.none_arrive()?;
    client.recover(&injection.id)?;
    victim.all_arrive()?;
    // Whoever made the qdisc, the user's filter is on it.
    ensure!(stage.observe()?.hooks(0) == 1, "the user's filter is gone: {:?}", stage.observe()?);
    daemon.stop()?;
    ensure!(stage.observe()?.hooks(0) == 1, "the user's filter is gone: {:?}", stage.observe()?);
    Ok(())
}

/// A filter of the user's. The host's kernel may have none that needs no action; those of the VMs do.
fn a_users_filter(stage: &Stage, parent: TcHandle) -> Result<()> {
    match stage.net.near.netlink().add_filter("near0", parent, 7) {
        Err(error) if !skip::own_machine() => {
            println!("without a filter of the user's: {error:#}");
            Ok(())
        }
        added => added,
    }
}

/// The qdisc `ingress` takes the place that `clsact` needs, and has no hook for what goes out.
fn an_ingress_qdisc_stays_and_outgoing_loss_says_so() -> Result<()> {
    let mut stage = Stage::new()?;
    stage.net.near.netlink().add_qdisc("near0", "ingress", CLSACT, 0xffff)?;
    a_users_filter(&stage, INGRESS)?;
    stage.begin_here()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    let loss = |direction| Loss::all().direction(direction).on(&stage.target);
    if skip::kernel() >= (6, 6) {
        phases(&client, loss(Direction::Out), &[&victim], &[&bystander])?;
    } else {
        for direction in [Direction::Out, Direction::Both] {
            let status = refused(client.inject(loss(direction)), "KERNEL")?;
            let said = status.message();
            ensure!(said.contains("near0") && said.contains("`ingress`"), "{status:?}");
            ensure!(client.list_ended_too()?.is_empty(), "the refused injection is remembered");
            victim.all_arrive()?;
            stage.idle(&daemon)?;
        }
    }
    let inward = stage.flow(&stage.victim, Transport::Udp, Family::V4, Direction::In)?;
    phases(&client, loss(Direction::In), &[&*inward], &[&bystander])?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
