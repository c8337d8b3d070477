//! Programs of others at both ends of a wire, as network policies are: they see every packet exactly once, held or not.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use bpf_witness::{Stranger, Way};
use chaos_common::proto::v1::Direction;

use crate::{
    harness::{
        Connections, Family, NetNs, Network, Probe as _, Stage, delay, needs, net,
        skip::{kernel, own_machine, skip},
        tests,
    },
    network_delay::{LATENCY, all_late, all_soon},
};
tests![policies_see_every_packet_once];

/// Who sees what leaves the near end, there and at the far end, or what comes to it.
fn watchers(stage: &Stage, direction: Direction) -> Result<[Stranger; 2]> {
    let attach = |netns: &NetNs, name: &str, way| {
        let index = netns.netlink().index(name)?;
        netns.within(|| Stranger::attach(index, way))
    };
    let (near, far) =
        if direction == Direction::Out { (Way::Out, Way::In) } else { (Way::In, Way::Out) };
    Ok([attach(&stage.net.near, "near0", near)?, attach(&stage.net.far, "far0", far)?])
}

fn policies_see_every_packet_once() -> Result<()> {
    if kernel() < (6, 6) {
        return skip("tcx came with Linux 6.6; filters of tc: network_delay::qdiscs");
    }
    if !own_machine() {
        return skip("others may send here");
    }
    let (mut stage, daemon) = Stage::served()?;
    let strangers = [
        (Direction::Out, watchers(&stage, Direction::Out)?),
        (Direction::In, watchers(&stage, Direction::In)?),
    ];
    stage.begin_here()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    for (direction, strangers) in &strangers {
        let (near, far) = (net::near(Family::V4), net::far(Family::V4));
        let flow = |agent| {
            let (near, far) = ((agent, near), (&stage.far, far));
            let (from, to) = if *direction == Direction::Out { (near, far) } else { (far, near) };
            stage.udp("flow", from, to)
        };
        let seen = || {
            let seen = strangers.iter().map(Stranger::seen);
            seen.collect::<Result<Vec<_>>>().context("a stranger is gone")
        };
        let counted = |work: &dyn Fn() -> Result<()>| {
            let before = seen()?;
            work()?;
            let after = seen()?;
            let counts = after.iter().zip(&before).map(|(after, before)| after - before);
            Ok::<_, anyhow::Error>(counts.collect::<Vec<_>>())
        };
        let (victim, bystander) = (flow(&stage.victim)?, flow(&stage.bystander)?);
        let usual = counted(&|| all_soon(&victim))?;
        let spec = Network::from(delay(LATENCY)).direction(*direction).on(&stage.target);
        let held = client.inject(spec)?;
        let delayed = counted(&|| all_late(&victim))?;
        ensure!(
            delayed == usual,
            "{direction:?}: {usual:?} without the fault, {delayed:?} with it"
        );
        let beside = counted(&|| all_soon(&bystander))?;
        ensure!(beside == usual, "{direction:?}: {usual:?} usually, the bystander's {beside:?}");
        client.recover(&held.id)?;
        let after = counted(&|| all_soon(&victim))?;
        ensure!(after == usual, "{direction:?}: {usual:?} before the fault, {after:?} after it");
    }
    let server = stage.far.listen(SocketAddr::new(net::far(Family::V4), 0))?;
    Connections::new("victim", &stage.victim, server.local).all_arrive()?;
    stage.idle(&daemon)?;
    drop(strangers);
    stage.begin_here()?;
    stage.finish(daemon)
}
