//! Somebody removes hooks while no daemon runs: the next one takes that for an end of the fault.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, End, State};
use netlink_packet_route::tc::TcHandle;

use super::adoption::both_ways;
use crate::harness::{Loss, Probe as _, Settings, Stage, active, tests};

tests![the_hooks_for_what_goes_out, the_hook_for_what_comes_in];

const CLSACT: TcHandle = TcHandle { major: 0xffff, minor: 0xfff1 };
const EGRESS: TcHandle = TcHandle { major: 0xffff, minor: 0xfff3 };

fn removed(remove: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    let stage = Stage::new()?;
    let settings = || Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() };
    let spec = || Loss::all().direction(Direction::Both).on(&stage.target);
    let flows = both_ways(&stage, "victim", &stage.victim)?;
    let daemon = stage.daemon_with(settings())?;
    active(&daemon.client()?.inject_as("before", spec())?)?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    daemon.kill()?;
    remove(&stage)?;

    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let ended = client.get("before")?;
    ensure!(ended.state() == State::Ended && ended.end() == End::Interrupted, "{ended:?}");
    ensure!(!ended.message.is_empty(), "{ended:?}");
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    ensure!(client.list()?.is_empty());
    remove_qdisc(&stage)?;
    stage.idle(&daemon)?;
    active(&client.inject_as("after", spec())?)?;
    flows.iter().try_for_each(|flow| flow.none_arrive())?;
    client.recover("after")?;
    flows.iter().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Pins whose name begins and ends so.
fn pins(stage: &Stage, begin: &str, end: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for build in fs::read_dir(stage.scratch.bpffs().join("chaos"))? {
        for pin in fs::read_dir(build?.path())? {
            let pin = pin?;
            let name = pin.file_name();
            let name = name.to_str().context("a pin without a readable name")?;
            if name.starts_with(begin) && name.ends_with(end) {
                found.push(pin.path());
            }
        }
    }
    Ok(found)
}

/// As `rm` of its pin does, or `tc filter del` where the kernel has no tcx. From every interface: one alone may
/// also be new, as far as the next daemon can tell.
fn remove_egress(stage: &Stage) -> Result<()> {
    let netlink = stage.net.near.netlink();
    for (index, name) in netlink.interfaces()? {
        let pins = pins(stage, "out-", &format!("-{index}"))?;
        let filters = netlink.filters(index, EGRESS.into())?;
        // A dump also has an entry without a handle for each priority in use.
        let filters: Vec<_> = filters.iter().filter(|filter| filter.head_u32(8) != 0).collect();
        ensure!(pins.len() + filters.len() == 1, "{name} has no hook: {pins:?}, {filters:?}");
        pins.into_iter().try_for_each(fs::remove_file)?;
        filters.into_iter().try_for_each(|filter| netlink.delete_filter(filter))?;
    }
    Ok(())
}

/// Only our filter said that the clsact below it was ours: whoever deletes the one deletes the other.
fn remove_qdisc(stage: &Stage) -> Result<()> {
    let netlink = stage.net.near.netlink();
    for (index, name) in netlink.interfaces()? {
        let parent = u32::from(CLSACT);
        let mut qdiscs = netlink.qdiscs()?.into_iter();
        if qdiscs.any(|qdisc| qdisc.head_u32(4) == index && qdisc.head_u32(12) == parent) {
            netlink.delete_qdisc(&name, CLSACT, CLSACT.major)?;
        }
    }
    Ok(())
}

fn the_hooks_for_what_goes_out() -> Result<()> {
    removed(remove_egress)
}

fn the_hook_for_what_comes_in() -> Result<()> {
    removed(|stage| {
        let pins = pins(stage, "in-", "")?;
        ensure!(pins.len() == 1, "{pins:?}");
        Ok(fs::remove_file(&pins[0])?)
    })
}
