//! Which sockets belong to a target.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;

use crate::harness::{
    Agent, Cgroup, Datagrams, Family, Loss, Place, Probe, Stage, Transport, net, phases, tests,
};

tests![
    a_nested_cgroup_is_hit,
    siblings_and_parents_are_not_hit,
    a_target_inside_a_target,
    a_moved_process_keeps_its_old_sockets,
    a_process_that_comes_later_is_hit,
    loopback_is_hit,
    the_server_side_is_hit,
];

/// A process of the near namespace in a cgroup.
fn process(stage: &Stage, cgroup: &Cgroup) -> Result<Agent> {
    Agent::start(Place::default().cgroup(cgroup)?.netns(&stage.net.near)?)
}

/// UDP from a process to the far end.
fn out<'a>(stage: &'a Stage, name: &str, agent: &'a Agent) -> Result<Datagrams<'a>> {
    stage.udp(name, (agent, net::near(Family::V4)), (&stage.far, net::far(Family::V4)))
}

/// UDP from the far end to a process.
fn inward<'a>(stage: &'a Stage, name: &str, agent: &'a Agent) -> Result<Datagrams<'a>> {
    stage.udp(name, (&stage.far, net::far(Family::V4)), (agent, net::near(Family::V4)))
}

fn a_nested_cgroup_is_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let inner = stage.target.child("inner")?;
    let innermost = inner.child("innermost")?;
    let (nested, deep) = (process(&stage, &inner)?, process(&stage, &innermost)?);
    let victims = [
        out(&stage, "nested, out", &nested)?,
        inward(&stage, "nested, in", &nested)?,
        out(&stage, "deep, out", &deep)?,
        inward(&stage, "deep, in", &deep)?,
    ];
    let victims: Vec<&dyn Probe> = victims.iter().map(|flow| flow as &dyn Probe).collect();
    let bystander = stage.bystander_udp()?;
    phases(
        &client,
        Loss::all().direction(Direction::Both).on(&stage.target),
        &victims,
        &[&bystander],
    )?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn siblings_and_parents_are_not_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let parent = process(&stage, &stage.base)?;
    let nephew_cgroup = stage.sibling.child("nephew")?;
    let nephew = process(&stage, &nephew_cgroup)?;
    let others = [
        out(&stage, "parent, out", &parent)?,
        inward(&stage, "parent, in", &parent)?,
        out(&stage, "sibling, out", &stage.bystander)?,
        inward(&stage, "sibling, in", &stage.bystander)?,
        out(&stage, "nephew, out", &nephew)?,
        inward(&stage, "nephew, in", &nephew)?,
    ];
    let others: Vec<&dyn Probe> = others.iter().map(|flow| flow as &dyn Probe).collect();
    let victim = stage.victim_udp()?;
    phases(&client, Loss::all().direction(Direction::Both).on(&stage.target), &[&victim], &others)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Faults at two depths: the inner one hits the inner cgroup only, and each ends by itself.
fn a_target_inside_a_target() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let inner = stage.target.child("inner")?;
    let nested = process(&stage, &inner)?;
    let (flow, outer_flow) = (out(&stage, "inner", &nested)?, stage.victim_udp()?);
    phases(&client, Loss::all().on(&inner), &[&flow], &[&outer_flow])?;

    let on_inner = client.inject(Loss::all().on(&inner))?;
    let on_outer = client.inject(Loss::all().on(&stage.target))?;
    flow.none_arrive()?;
    outer_flow.none_arrive()?;
    client.recover(&on_outer.id)?;
    flow.none_arrive()?;
    outer_flow.all_arrive()?;
    client.recover(&on_inner.id)?;
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A socket keeps the cgroup in which it was made, whichever way its process moves.
fn a_moved_process_keeps_its_old_sockets() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (mover, leaver) = (process(&stage, &stage.sibling)?, process(&stage, &stage.target)?);
    let old = [out(&stage, "mover, old, out", &mover)?, inward(&stage, "mover, old, in", &mover)?];
    let made_inside = out(&stage, "leaver, old", &leaver)?;
    stage.target.adopt(mover.pid())?;
    stage.sibling.adopt(leaver.pid())?;
    let new = [out(&stage, "mover, new, out", &mover)?, inward(&stage, "mover, new, in", &mover)?];
    let made_outside = out(&stage, "leaver, new", &leaver)?;
    phases(
        &client,
        Loss::all().direction(Direction::Both).on(&stage.target),
        &[&new[0], &new[1], &made_inside],
        &[&old[0], &old[1], &made_outside],
    )?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A target may be empty when the fault begins.
fn a_process_that_comes_later_is_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let empty = stage.base.child("empty")?;
    let injection = client.inject(Loss::all().direction(Direction::Both).on(&empty))?;
    let newcomer = process(&stage, &empty)?;
    let (outgoing, incoming) =
        (out(&stage, "newcomer, out", &newcomer)?, inward(&stage, "newcomer, in", &newcomer)?);
    // Incoming is hit from the first packet on; for outgoing, the daemon must see the namespace first.
    incoming.none_arrive()?;
    super::interfaces::becomes_lossy(&outgoing)?;
    client.recover(&injection.id)?;
    outgoing.all_arrive()?;
    incoming.all_arrive()?;
    drop((outgoing, incoming));
    drop(newcomer);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn loopback_is_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for direction in [Direction::Out, Direction::In] {
        let mut victims: Vec<Box<dyn Probe>> = Vec::new();
        let mut others: Vec<Box<dyn Probe>> = Vec::new();
        for family in net::families() {
            let lo = net::loopback(family);
            let (victim, bystander) = (&stage.victim, &stage.bystander);
            victims.push(Box::new(stage.udp("victim to itself", (victim, lo), (victim, lo))?));
            others.push(Box::new(stage.udp(
                "bystander to itself",
                (bystander, lo),
                (bystander, lo),
            )?));
            // Between the two, only one way is the target's.
            let to = stage.udp("victim to bystander", (victim, lo), (bystander, lo))?;
            let from = stage.udp("bystander to victim", (bystander, lo), (victim, lo))?;
            let (hit, spared) = if direction == Direction::Out { (to, from) } else { (from, to) };
            victims.push(Box::new(hit));
            others.push(Box::new(spared));
        }
        let victims: Vec<&dyn Probe> = victims.iter().map(|flow| &**flow).collect();
        let others: Vec<&dyn Probe> = others.iter().map(|flow| &**flow).collect();
        phases(&client, Loss::all().direction(direction).on(&stage.target), &victims, &others)?;
    }
    // A packet that the victim sends to itself passes both ways, and is counted both times.
    let flow = stage.udp(
        "victim to itself",
        (&stage.victim, net::loopback(Family::V4)),
        (&stage.victim, net::loopback(Family::V4)),
    )?;
    let spare = Loss::percent(1e-7).seed(1).direction(Direction::Both).on(&stage.target);
    let injection = client.inject(spare)?;
    flow.all_arrive()?;
    let counters = crate::harness::balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 2 * u64::from(flow.usual()), "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// What a listening socket answers is the target's too, before there is a connection.
fn the_server_side_is_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for family in net::families() {
        let victim = stage.flow(&stage.victim, Transport::Tcp, family, Direction::In)?;
        let bystander = stage.flow(&stage.bystander, Transport::Tcp, family, Direction::In)?;
        // Of a connection that the far end opens, the target sends the answer.
        phases(
            &client,
            Loss::all().direction(Direction::Out).on(&stage.target),
            &[&*victim],
            &[&*bystander],
        )?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
