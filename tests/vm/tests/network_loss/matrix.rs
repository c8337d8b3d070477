//! Every family, transport and direction: the victim loses everything, nobody else anything.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;
use libtest_mimic::Trial;

use crate::harness::{Family, Loss, Stage, Transport, net, phases, skip, trial};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for family in [Family::V4, Family::V6] {
        for transport in [Transport::Udp, Transport::Tcp, Transport::Icmp, Transport::RawIcmp] {
            for (direction, word) in [(Direction::Out, "out"), (Direction::In, "in")] {
                let name = format!("{transport:?}_{family:?}_{word}").to_lowercase();
                trials
                    .push(trial(module_path!(), &name, move || cell(family, transport, direction)));
            }
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
    let victim = stage.flow(&stage.victim, transport, family, direction)?;
    let bystander = stage.flow(&stage.bystander, transport, family, direction)?;
    let stranger = stage.in_other_namespace(&stage.sibling)?;
    let ends = (net::address(family, 79, 1), net::address(family, 79, 2));
    let outsider = stage.udp("outsider", (&stranger, ends.0), (&stage.far, ends.1))?;
    // One way of a connection is enough to end it, but datagrams go one way only.
    let back = match direction {
        Direction::In => stage.flow(&stage.victim, Transport::Udp, family, Direction::Out)?,
        Direction::Unspecified | Direction::Out | Direction::Both => {
            stage.flow(&stage.victim, Transport::Udp, family, Direction::In)?
        }
    };
    let requests = || match family {
        Family::V4 => stage.far.snmp("Icmp:InEchos"),
        Family::V6 => stage.far.snmp("Icmp6InEchos"),
    };

    let before = requests()?;
    let loss = Loss::all().direction(direction).on(&stage.target);
    phases(&client, loss, &[&*victim], &[&*bystander, &outsider, &*back])?;
    if matches!(transport, Transport::Icmp | Transport::RawIcmp) {
        // Before, during and after for the victim; the bystander's always arrive.
        let rounds = if direction == Direction::Out { 2 + 3 } else { 3 + 3 };
        let expected = rounds * u64::from(victim.usual());
        let came = requests()? - before;
        ensure!(came == expected, "{came} requests came to the far end, {expected} should have");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
