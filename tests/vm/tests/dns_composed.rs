//! Faults of names together: on one target, and on targets that lie within each other.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_common::proto::v1;
use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::harness::{
    Agent, Family, Network, Place, Stage, balanced, needs, net, poll,
    questions::{
        KNOWN, WITHIN, addresses, answers, answers_with, looked_up, name_server, name_server_at,
        questions,
    },
    tests, wire,
};

tests![
    of_two_on_one_target_what_answers_comes_first,
    an_outer_delay_holds_no_answer_of_an_inner_error,
    targets_within_each_other_have_each_their_own_server,
    a_delay_is_drawn_and_counted,
];

/// Longer than an answer takes on a slow machine.
const LATENCY: Duration = Duration::from_millis(700);
const CHOSEN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

fn record(names: &[&str]) -> Network {
    let addresses = vec![CHOSEN.to_string()];
    v1::DnsRecord { questions: Some(questions(names)), addresses, ..Default::default() }.into()
}

fn delay(names: &[&str]) -> Network {
    let (questions, latency) = (Some(questions(names)), wire(LATENCY));
    v1::DnsDelay { questions, latency, ..Default::default() }.into()
}

fn refused(names: &[&str]) -> Network {
    let (questions, code) = (Some(questions(names)), "REFUSED".into());
    v1::DnsError { questions, code, ..Default::default() }.into()
}

fn upstream(server: SocketAddr) -> Network {
    v1::DnsServer { upstream: vec![server.to_string()], ..Default::default() }.into()
}

/// Whether a name that has an address is late.
fn is_late(agent: &Agent, to: SocketAddr, name: &str, wanted: Ipv4Addr) -> Result<bool> {
    let begin = Instant::now();
    let found = addresses(&looked_up(agent, to, name, RecordType::A)?)?;
    ensure!(found == [IpAddr::V4(wanted)], "{name}: {found:?}, not {wanted}");
    Ok(begin.elapsed() >= LATENCY)
}

/// It has an address and is not late, but for a machine that is busy.
fn is_soon(agent: &Agent, to: SocketAddr, name: &str, wanted: Ipv4Addr) -> Result<()> {
    poll::until("a name to be soon", WITHIN, || {
        Ok((!is_late(agent, to, name, wanted)?).then_some(()))
    })
}

fn of_two_on_one_target_what_answers_comes_first() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    for record_first in [true, false] {
        let (record, delay) = (record(&["a.example"]), delay(&["*.example"]));
        let faults = if record_first { [record, delay] } else { [delay, record] };
        for fault in faults {
            client.inject(fault.on(&stage.target))?;
        }
        is_soon(&stage.victim, to, "a.example", CHOSEN)?;
        ensure!(is_late(&stage.victim, to, "b.a.example", KNOWN)?, "first: {record_first}");
        is_soon(&stage.victim, to, "other", KNOWN)?;
        is_soon(&stage.bystander, to, "a.example", KNOWN)?;
        client.recover_all()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_outer_delay_holds_no_answer_of_an_inner_error() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let late = v1::NetworkDelay { latency: wire(LATENCY), ..Default::default() };
    client.inject(Network::from(late).on(&stage.base))?;
    client.inject(refused(&["a.example"]).on(&stage.target))?;
    poll::until("the error to be soon", WITHIN, || {
        let begin = Instant::now();
        answers_with(&stage.victim, to, "a.example", ResponseCode::Refused)?;
        Ok((begin.elapsed() < LATENCY).then_some(()))
    })?;
    // What is not answered is late, of both.
    for (agent, name) in [(&stage.victim, "other"), (&stage.bystander, "a.example")] {
        let begin = Instant::now();
        answers(agent, to, name)?;
        ensure!(begin.elapsed() >= LATENCY, "{name} took {:?}", begin.elapsed());
    }
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The outermost is asked first; whichever begins or ends first.
fn targets_within_each_other_have_each_their_own_server() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let says = |last| Ipv4Addr::new(192, 0, 2, last);
    let (_outer, outer) = name_server_at(&stage, net::address(Family::V4, 77, 3), says(3))?;
    let (_inner, inner) = name_server_at(&stage, net::address(Family::V4, 77, 4), says(4))?;
    let within = stage.target.child("within")?;
    let agent = Agent::start(Place::default().cgroup(&within)?.netns(&stage.net.near)?)?;
    let say = |of_agent: Ipv4Addr, of_victim: Ipv4Addr| {
        for (agent, wanted) in
            [(&agent, of_agent), (&stage.victim, of_victim), (&stage.bystander, KNOWN)]
        {
            let found = addresses(&looked_up(agent, to, "a.example", RecordType::A)?)?;
            ensure!(found == [IpAddr::V4(wanted)], "{found:?}, not {wanted}");
        }
        Ok(())
    };
    for outer_first in [true, false] {
        for outer_goes_first in [true, false] {
            say(KNOWN, KNOWN)?;
            let make = |is_outer: bool| {
                let (fault, target) = if is_outer {
                    (upstream(outer), &stage.target)
                } else {
                    (upstream(inner), &within)
                };
                client.inject(fault.on(target))
            };
            let (mut ids, order) = ([const { String::new() }; 2], [outer_first, !outer_first]);
            for is_outer in order {
                ids[usize::from(is_outer)] = make(is_outer)?.id;
                if is_outer != order[1] {
                    say(
                        if is_outer { says(3) } else { says(4) },
                        if is_outer { says(3) } else { KNOWN },
                    )?;
                }
            }
            say(says(3), says(3))?;
            client.recover(&ids[usize::from(outer_goes_first)])?;
            if outer_goes_first { say(says(4), KNOWN) } else { say(says(3), says(3)) }?;
            client.recover(&ids[usize::from(!outer_goes_first)])?;
        }
    }
    say(KNOWN, KNOWN)?;
    drop(agent);
    drop(within);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_delay_is_drawn_and_counted() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let short = |fault: v1::DnsDelay| v1::DnsDelay {
        questions: Some(questions(&["a.example"])),
        latency: wire(LATENCY),
        ..fault
    };
    let twice = short(v1::DnsDelay::default());
    let injection = client.inject(Network::from(twice).times(2).on(&stage.target))?;
    let late: Vec<bool> =
        (0..4).map(|_| is_late(&stage.victim, to, "a.example", KNOWN)).collect::<Result<_>>()?;
    ensure!(late == [true, true, false, false], "{late:?}");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 2 && counters.over_budget == 2, "{counters:?}");
    let drawn = |seed| {
        let half = short(v1::DnsDelay { percent: Some(50.0), ..Default::default() });
        let injection = client.inject(Network::from(half).seed(seed).on(&stage.target))?;
        let late = (0..8).map(|_| is_late(&stage.victim, to, "a.example", KNOWN));
        let late = late.collect::<Result<Vec<bool>>>()?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        let count = late.iter().filter(|late| **late).count() as u64;
        ensure!(counters.fired == count && counters.matched == 8, "{counters:?}, {late:?}");
        Ok(late)
    };
    let first = drawn(7)?;
    ensure!(first == drawn(7)?, "the same seed gave others");
    ensure!(first.contains(&true) && first.contains(&false), "{first:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
