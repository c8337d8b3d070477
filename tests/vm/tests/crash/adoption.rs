//! A daemon that takes over what a killed one left: not a packet gets by meanwhile, and what begins afterwards
//! acts like what was there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, Spec};
use libtest_mimic::Trial;

use crate::harness::{
    Agent, Cgroup, Client, Datagrams, Family, Loss, Network, Place, Probe as _, Settings, Stage,
    active, balanced, net, poll, trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    let afterwards = [Where::Beside, Where::Below, Where::Above].map(|new| {
        let name = format!("a_new_fault_{}_an_adopted_one_acts", new.word());
        trial(module_path!(), &name, move || afterwards(new))
    });
    let across = [First::Outer, First::Inner].map(|first| {
        let name = format!("nothing_gets_by_with_the_{}_fault_first", first.word());
        trial(module_path!(), &name, move || across(first))
    });
    afterwards.into_iter().chain(across).collect()
}

fn settings() -> Settings {
    Settings { lease: Some(Duration::from_secs(20)), ..Settings::default() }
}

/// What a process sends, and what it receives.
pub(super) fn both_ways<'a>(
    stage: &'a Stage,
    name: &str,
    process: &'a Agent,
) -> Result<[Datagrams<'a>; 2]> {
    let (process, far) = ((process, net::near(Family::V4)), (&stage.far, net::far(Family::V4)));
    Ok([
        stage.udp(format!("{name}, out"), process, far)?,
        stage.udp(format!("{name}, in"), far, process)?,
    ])
}

/// Loses these flows of [`both_ways`] and no others.
fn losing(flows: &[&[Datagrams<'_>; 2]], cgroup: &Cgroup) -> Spec {
    let loss = Loss::all().direction(Direction::Both);
    let ports =
        flows.iter().flat_map(|[out, inward]| [out.receiver_port(), inward.sender().local.port()]);
    ports.fold(loss, Network::remote_port).on(cgroup)
}

fn none_arrive(flows: &[&[Datagrams<'_>; 2]]) -> Result<()> {
    flows.iter().copied().flatten().try_for_each(|flow| flow.none_arrive())
}

fn all_arrive(flows: &[&[Datagrams<'_>; 2]]) -> Result<()> {
    flows.iter().copied().flatten().try_for_each(|flow| flow.all_arrive())
}

/// Of the target of a new fault, seen from that of the adopted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Beside,
    Below,
    Above,
}

impl Where {
    fn word(self) -> &'static str {
        match self {
            Self::Beside => "beside",
            Self::Below => "below",
            Self::Above => "above",
        }
    }
}

/// All in one network namespace, so that both faults share its hooks.
fn afterwards(place: Where) -> Result<()> {
    let stage = Stage::new()?;
    let other = match place {
        Where::Beside => stage.base.child("newcomer")?,
        Where::Below | Where::Above => stage.target.child("inner")?,
    };
    let process = Agent::start(Place::default().cgroup(&other)?.netns(&stage.net.near)?)?;
    let (in_target, in_other) = ((&stage.target, &stage.victim), (&other, &process));
    let (old, new) = match place {
        Where::Beside | Where::Below => (in_target, in_other),
        Where::Above => (in_other, in_target),
    };
    let old_flows = both_ways(&stage, "adopted", old.1)?;
    let new_flows = both_ways(&stage, "new", new.1)?;
    // What is above reaches what is below.
    let inherited = both_ways(&stage, "inherited", old.1)?;
    let mut hit = vec![&new_flows];
    if place == Where::Above {
        hit.push(&inherited);
    }

    let daemon = stage.daemon_with(settings())?;
    daemon.client()?.inject_as("old", losing(&[&old_flows], old.0))?;
    none_arrive(&[&old_flows])?;
    all_arrive(&[&new_flows, &inherited])?;
    daemon.kill()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    active(&client.get("old")?)?;
    none_arrive(&[&old_flows]).context("of the adopted fault")?;

    active(&client.inject_as("new", losing(&hit, new.0))?)?;
    none_arrive(&hit).context("of the new fault")?;
    none_arrive(&[&old_flows]).context("of the adopted fault beside the new one")?;
    let sent: u32 = hit.iter().copied().flatten().map(|flow| flow.usual()).sum();
    let counters = balanced(&client.get("new")?)?;
    ensure!(counters.fired == u64::from(sent), "{sent} were sent: {counters:?}");
    ensure!(balanced(&client.get("old")?)?.past_lease == 0);
    client.recover("new")?;
    all_arrive(&hit)?;
    none_arrive(&[&old_flows])?;
    client.recover("old")?;
    all_arrive(&[&old_flows])?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Of two targets that lie within each other, the one whose fault comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    Outer,
    Inner,
}

impl First {
    fn word(self) -> &'static str {
        match self {
            Self::Outer => "outer",
            Self::Inner => "inner",
        }
    }
}

/// The faults, and how often each fired.
fn fired(client: &Client, ids: &[&str]) -> Result<Vec<u64>> {
    let fired = ids.iter().map(|id| {
        let injection = client.get(id)?;
        active(&injection)?;
        let counters = balanced(&injection)?;
        ensure!(counters.matched == counters.fired, "{id} let some pass: {counters:?}");
        Ok(counters.fired)
    });
    fired.collect()
}

/// Three faults, each alone in losing what a process sends and receives all the time.
fn across(first: First) -> Result<()> {
    const SOON: Duration = Duration::from_secs(10);
    let stage = Stage::new()?;
    let inner = stage.target.child("inner")?;
    let process = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    let flows = [
        ("one", &stage.target, both_ways(&stage, "one", &stage.victim)?),
        ("two", &stage.target, both_ways(&stage, "two", &stage.victim)?),
        ("inner", &inner, both_ways(&stage, "inner", &process)?),
    ];
    let ids = flows.each_ref().map(|(id, ..)| *id);
    let each = || flows.iter().flat_map(|(_, _, both)| both);

    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let mut order: Vec<_> = flows.iter().collect();
    if first == First::Inner {
        order.reverse();
    }
    for (id, cgroup, both) in order {
        client.inject_as(id, losing(&[both], cgroup))?;
        none_arrive(&[both])?;
    }
    let before = fired(&client, &ids)?;
    each().try_for_each(Datagrams::begin)?;
    // Fires for each: traffic flows both ways.
    let busy = |client: &Client, since: &[u64]| {
        poll::until("each fault to fire again", SOON, || {
            let now = fired(client, &ids)?;
            Ok(now.iter().zip(since).all(|(now, then)| *now > then + 20).then_some(now))
        })
    };
    busy(&client, &before)?;
    daemon.kill()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let adopted = fired(&client, &ids)?;
    busy(&client, &adopted)?;
    // The keeper has its turn too.
    poll::all_along(Duration::from_secs(1), || fired(&client, &ids).map(drop))?;

    let mut sent = 0;
    for flow in each() {
        let round = flow.cease()?;
        let name = flow.name();
        ensure!(round.sent > 20 && round.failed.is_empty(), "{name}: {round:?}");
        let (count, arrived) = (round.sent, &round.arrived);
        ensure!(arrived.is_empty(), "{name}: of {count} these arrived: {arrived:?}");
        sent += u64::from(count);
    }
    let (before, after): (u64, u64) = (before.iter().sum(), fired(&client, &ids)?.iter().sum());
    ensure!(after - before == sent, "{sent} were sent, {} were lost by faults", after - before);
    client.recover_all()?;
    each().try_for_each(|flow| flow.all_arrive())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
