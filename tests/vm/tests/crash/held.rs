//! Packets that wait when a daemon is killed: they arrive, and the next daemon removes their place, whatever else is
//! in that network namespace.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{self, Checksum, Spec};

use crate::harness::{
    Family, Network, Probe as _, Settings, Stage, delay, holds_in_memory, needs, net, poll,
    skip::skip, tests,
};

tests![beside_a_hop_that_is_in_use, behind_programs_with_other_tables];

/// Long enough for a restart on a slow machine.
const LONG: Duration = Duration::from_secs(4);
const COUNT: usize = 20;

fn late(stage: &Stage) -> Spec {
    Network::from(delay(LONG)).on(&stage.target)
}

fn beside_a_hop_that_is_in_use() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    needs(&client, "network corrupt")?;
    let flow = stage.victim_udp()?;
    let late = client.inject(late(&stage))?;
    let waiting = stage.victim.udp(net::near(Family::V4))?;
    let receiver = stage.far.udp(net::far(Family::V4))?;
    stage.victim.send(waiting, receiver.local, 0, COUNT as u32)?;
    let broken = v1::NetworkCorrupt {
        percent: 100.0,
        checksum: Checksum::Broken.into(),
        ..Default::default()
    };
    let broken = client.inject(Network::from(broken).on(&stage.target))?;
    client.recover(&late.id)?;
    flow.none_arrive()?;
    let is_lasting = !holds_in_memory(&client)?;
    daemon.kill()?;
    let daemon = stage.daemon()?;
    flow.none_arrive()?;
    if is_lasting {
        let arrived = stage.far.arrivals(receiver, COUNT, LONG * 5)?;
        ensure!(arrived.len() == COUNT, "{} of {COUNT} arrived", arrived.len());
    }
    daemon.client()?.recover(&broken.id)?;
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// As after an update that changed the tables: what waits goes by the old ones, and nothing new may be put there.
fn behind_programs_with_other_tables() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    if holds_in_memory(&client)? {
        return skip("a place in the daemon's memory ends with it");
    }
    client.inject(late(&stage))?;
    let sender = stage.victim.udp(net::near(Family::V4))?;
    let receiver = stage.far.udp(net::far(Family::V4))?;
    stage.victim.send(sender, receiver.local, 0, COUNT as u32)?;
    daemon.kill()?;
    for entry in fs::read_dir(stage.scratch.bpffs())? {
        fs::remove_dir_all(entry?.path())?;
    }
    let daemon = stage.daemon_with(Settings::default())?;
    let client = daemon.client()?;
    let refused = client.inject(late(&stage));
    let said = refused.err().map(|status| status.to_string()).unwrap_or_default();
    ensure!(said.contains("still behind chaos-"), "it was not refused for what waits: {said}");
    let arrived = stage.far.arrivals(receiver, COUNT, LONG * 5)?;
    ensure!(arrived.len() == COUNT, "{} of {COUNT} arrived", arrived.len());
    let again = poll::until_ok("the place to be free again", Duration::from_secs(20), || {
        Ok(client.inject(late(&stage))?)
    })?;
    let late = |late: &i64| *late >= LONG.as_micros() as i64;
    let round = stage.victim_udp()?.round(COUNT as u32, COUNT as u32)?;
    ensure!(round.arrived.len() == COUNT && round.late_us.iter().all(late), "{round:?}");
    client.recover(&again.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
