//! Every family, transport and direction: the victim's packets are late, nobody else's are.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{Direction, End, State};
use libtest_mimic::Trial;

use super::{LATENCY, all_late, all_soon};
use crate::harness::{
    Family, Network, Stage, Transport, active, balanced, delay, needs, net, skip, trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for family in [Family::V4, Family::V6] {
        for (transport, direction) in [
            (Transport::Udp, Direction::Out),
            (Transport::Udp, Direction::In),
            (Transport::Tcp, Direction::Out),
            (Transport::Tcp, Direction::In),
            (Transport::Icmp, Direction::Out),
            (Transport::RawIcmp, Direction::Out),
        ] {
            let word = direction.as_str_name().trim_start_matches("DIRECTION_").to_lowercase();
            let name = format!("{transport:?}_{family:?}_{word}").to_lowercase();
            trials.push(trial(module_path!(), &name, move || cell(family, transport, direction)));
        }
    }
    trials
}

fn cell(family: Family, transport: Transport, direction: Direction) -> Result<()> {
    if family == Family::V6 {
        skip::needs_ipv6()?;
    }
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let victim = stage.flow(&stage.victim, transport, family, direction)?;
    let bystander = stage.flow(&stage.bystander, transport, family, direction)?;
    let stranger = stage.in_other_namespace(&stage.sibling)?;
    let ends = (net::address(family, 79, 1), net::address(family, 79, 2));
    let outsider = stage.udp("outsider", (&stranger, ends.0), (&stage.far, ends.1))?;
    let everybody = || {
        all_soon(&*victim)?;
        all_soon(&*bystander)?;
        all_soon(&outsider)
    };
    everybody()?;
    let spec = Network::from(delay(LATENCY)).direction(direction).on(&stage.target);
    let injection = client.inject(spec)?;
    active(&injection)?;
    all_late(&*victim)?;
    all_soon(&*bystander)?;
    all_soon(&outsider)?;
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(counters.fired >= u64::from(victim.usual()), "{counters:?}");
    let ended = client.recover(&injection.id)?;
    ensure!(ended.state() == State::Ended && ended.end() == End::Recovered, "{ended:?}");
    everybody()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
