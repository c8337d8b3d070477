//! Interfaces and namespaces that come and go while a fault is on.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::{
    Agent, Datagrams, Family, Loss, NetNs, Place, Probe as _, Stage, net, poll, tests,
};

tests![
    an_interface_that_appears_is_attached,
    an_interface_that_moves_is_followed,
    an_interface_that_vanishes_is_no_trouble,
    a_process_that_joins_another_namespace_is_followed,
    nothing_is_attached_where_no_target_is,
];

/// How soon the daemon must have seen a change, with room for a slow machine.
const SOON: Duration = Duration::from_secs(8);

/// Waits until a flow loses everything.
pub(super) fn becomes_lossy(flow: &Datagrams<'_>) -> Result<()> {
    poll::until_ok("the fault to reach this flow", SOON, || flow.none_arrive())
}

/// UDP from a process over the wire with this number.
fn over<'a>(stage: &'a Stage, name: &str, agent: &'a Agent, wire: u8) -> Result<Datagrams<'a>> {
    stage.udp(
        name,
        (agent, net::address(Family::V4, wire, 1)),
        (&stage.far, net::address(Family::V4, wire, 2)),
    )
}

fn an_interface_that_appears_is_attached() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    net::wire(&stage.net.near, "near1", &stage.net.far, "far2", 78)?;
    let (victim, bystander) = (
        over(&stage, "victim", &stage.victim, 78)?,
        over(&stage, "bystander", &stage.bystander, 78)?,
    );
    becomes_lossy(&victim)?;
    bystander.all_arrive()?;
    client.recover(&injection.id)?;
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_interface_that_moves_is_followed() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let elsewhere = NetNs::new()?;
    elsewhere.netlink().add_veth("near1", "far2", stage.net.far.fd())?;
    net::bring_up(&stage.net.far, "far2", 78, 2)?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    elsewhere.netlink().move_to("near1", stage.net.near.fd())?;
    // Moving an interface takes its addresses.
    net::bring_up(&stage.net.near, "near1", 78, 1)?;
    let victim = over(&stage, "victim", &stage.victim, 78)?;
    becomes_lossy(&victim)?;

    // Away again, with our hook on it, and into a namespace where there is no target.
    stage.net.near.netlink().move_to("near1", elsewhere.fd())?;
    net::bring_up(&elsewhere, "near1", 78, 1)?;
    let stranger = Agent::start(Place::default().cgroup(&stage.sibling)?.netns(&elsewhere)?)?;
    over(&stage, "stranger", &stranger, 78)?.all_arrive()?;
    stage.victim_udp()?.none_arrive()?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    let left = crate::harness::Observed::now(&[&elsewhere], &[])?;
    ensure!(left.hooks(0) == 0, "a hook left with the interface: {left:?}");
    stage.finish(daemon)
}

fn an_interface_that_vanishes_is_no_trouble() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    net::wire(&stage.net.near, "near1", &stage.net.far, "far2", 78)?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    over(&stage, "victim", &stage.victim, 78)?.none_arrive()?;
    stage.net.near.netlink().delete("near1")?;
    let victim = stage.victim_udp()?;
    victim.none_arrive()?;
    let ended = client.recover(&injection.id)?;
    ensure!(ended.message.is_empty(), "{ended:?}");
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Like a container that gets its namespace after its cgroup, or `nsenter`.
fn a_process_that_joins_another_namespace_is_followed() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let stranger = stage.in_other_namespace(&stage.sibling)?;
    let outsider = over(&stage, "outsider", &stranger, 79)?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let started = stage.in_other_namespace(&stage.target)?;
    becomes_lossy(&over(&stage, "started there", &started, 79)?)?;
    outsider.all_arrive()?;
    drop(started);

    let entered = Agent::start(Place::default().cgroup(&stage.target)?.netns(&stage.net.near)?)?;
    let at_home = stage.udp(
        "entered, old",
        (&entered, net::near(Family::V4)),
        (&stage.far, net::far(Family::V4)),
    )?;
    at_home.none_arrive()?;
    entered.enter(&stage.net.other)?;
    becomes_lossy(&over(&stage, "entered, new", &entered, 79)?)?;
    // The socket that it left behind is still the target's.
    at_home.none_arrive()?;
    outsider.all_arrive()?;
    client.recover(&injection.id)?;
    over(&stage, "entered, after", &entered, 79)?.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Neighbours in other namespaces pay nothing, since nothing is there.
fn nothing_is_attached_where_no_target_is() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::percent(1.0).on(&stage.target))?;
    let seen = stage.observe()?;
    ensure!(seen.hooks(0) >= 2, "nothing is attached to the target's interfaces: {seen:?}");
    ensure!(seen.hooks(1) == 0 && seen.hooks(2) == 0, "something is attached elsewhere: {seen:?}");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
