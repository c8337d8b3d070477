//! What tools without eBPF do: htb as the root qdisc, and a u32 filter for each address.

use anyhow::Result;

use crate::{
    compare::{Condition, compare, nothing},
    place::{Cgroup, NetNs},
    row::Row,
    setting::Subjects,
    worker::Worker,
};

const RULES: [u32; 3] = [1, 100, 625];
const BATCHES: u32 = 200;

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    let (near, far, cgroup) = (NetNs::new()?, NetNs::new()?, Cgroup::new()?);
    let mut worker = Worker::start(&cgroup, &near)?;
    let mut links = Vec::new();
    for (net, rules) in [0].into_iter().chain(RULES).enumerate() {
        let (name, net) = (format!("v{rules}"), net as u8);
        near.join(&far, &name, net)?;
        worker.link(&name, &format!("10.9.{net}.2"), &far)?;
        if let Err(error) = set_up(&near, &name, rules) {
            let why = format!("{error:#}");
            return Ok(vec![Row::not_measured("classic: neighbour's UDP send", "×", &why)]);
        }
        links.push(name);
    }
    // One interface for each, so nothing has to be changed between measurements.
    let mut only: [Condition<'_>; 1] = [nothing()];
    let samples = compare(subjects.rounds, &mut only, || {
        let sends = |link: &String| worker.send(link, BATCHES);
        let times = links.iter().map(sends).collect::<Result<Vec<f64>>>()?;
        Ok(times.iter().map(|time| time / times[0]).chain([times[0]]).collect())
    })?;
    let baseline = format!("no qdisc: {:.0} ns", samples.figure(0, links.len()));
    let rows = RULES.iter().enumerate().map(|(at, rules)| {
        let name = format!("classic: neighbour's UDP send, htb + {rules} u32 by tc(8)");
        Row::ratio(name, samples.figure(0, at + 1), baseline.clone())
    });
    Ok(rows.collect())
}

/// The neighbour's packets match no filter.
fn set_up(netns: &NetNs, interface: &str, rules: u32) -> Result<()> {
    if rules == 0 {
        return Ok(());
    }
    let tc = |arguments: String| netns.command("tc", &arguments);
    tc(format!("qdisc add dev {interface} root handle 1: htb default 1"))?;
    for class in [1, 2] {
        tc(format!(
            "class add dev {interface} parent 1: classid 1:{class} htb rate 100gbit quantum 60000"
        ))?;
    }
    for rule in 0..rules {
        let address = format!("10.99.{}.{}", rule / 250, rule % 250 + 1);
        tc(format!(
            "filter add dev {interface} parent 1: protocol ip prio 1 u32 match ip dst {address}/32 flowid 1:2"
        ))?;
    }
    Ok(())
}
