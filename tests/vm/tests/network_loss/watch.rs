//! What `Watch` says of the packets that were lost.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos_common::{
    fault::LossModel,
    proto::v1::{Direction, End, Firing, State, firing::What, watch_event::Event},
    value::{Percent, Share},
};

use crate::harness::{Family, Loss, Probe, Stage, Transport, Watch, net, poll, tests};

tests![
    changes_are_told,
    a_firing_names_both_ends,
    a_firing_that_comes_in_names_both_ends,
    an_echo_request_has_no_ports,
    firings_are_sampled,
    one_injection_can_be_watched,
];

const SOON: Duration = Duration::from_secs(10);

fn firing(event: Event) -> Option<Firing> {
    match event {
        Event::Firing(firing) => Some(firing),
        Event::Changed(_) | Event::Missed(_) => None,
    }
}

/// Sends until a firing is told: a daemon listens to the kernel only while somebody watches, and may need
/// a moment to begin.
fn first_firing(watch: &mut Watch<'_>, flow: &dyn Probe) -> Result<Firing> {
    poll::until("a firing", SOON, || {
        flow.round(flow.usual(), 0)?;
        while let Some(event) = watch.next(Duration::from_millis(200))? {
            if let Some(firing) = firing(event) {
                return Ok(Some(firing));
            }
        }
        Ok(None)
    })
}

fn changes_are_told() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    let earlier = client.inject(Loss::percent(1.0).on(&stage.target))?;
    let mut watch = watcher.watch("")?;
    let mut next = |id: &str, state: State| {
        watch.find("a change", SOON, |event| match event {
            Event::Changed(injection) => {
                (injection.id == id && injection.state() == state).then_some(injection)
            }
            Event::Firing(_) | Event::Missed(_) => None,
        })
    };
    next(&earlier.id, State::Active)?;
    let later = client.inject_as("later", Loss::percent(1.0).on(&stage.target))?;
    ensure!(later.id == "later");
    next("later", State::Active)?;
    client.recover("later")?;
    let ended = next("later", State::Ended)?;
    ensure!(ended.end() == End::Recovered, "{ended:?}");
    client.recover(&earlier.id)?;
    next(&earlier.id, State::Ended)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_firing_names_both_ends() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    let model = LossModel::Share(Share::new(Percent::try_from(50.0)?, None)?);
    for family in net::families() {
        let ends = ((&stage.victim, net::near(family)), (&stage.far, net::far(family)));
        let flow = stage.udp("watched", ends.0, ends.1)?.sized(100);
        let injection = client.inject(Loss::percent(50.0).seed(6).on(&stage.target))?;
        let mut watch = watcher.watch(&injection.id)?;
        let firing = first_firing(&mut watch, &flow)?;
        ensure!(firing.id == injection.id && firing.time.is_some(), "{firing:?}");
        let fires = model.dice(6).sequence().nth(firing.n as usize);
        ensure!(fires == Some(true), "event {} did not fire", firing.n);
        let Some(What::Packet(packet)) = &firing.what else {
            anyhow::bail!("no packet in {firing:?}")
        };
        ensure!(packet.direction() == Direction::Out && packet.protocol == 17, "{packet:?}");
        ensure!(packet.local_address == ends.0.1.to_string(), "{packet:?}");
        ensure!(packet.remote_address == ends.1.1.to_string(), "{packet:?}");
        ensure!(packet.local_port == u32::from(flow.sender().local.port()), "{packet:?}");
        ensure!(packet.remote_port == u32::from(flow.receiver_port()), "{packet:?}");
        let headers = if family == Family::V4 { 28 } else { 48 };
        ensure!((headers + 100..=headers + 114).contains(&packet.length), "{packet:?}");
        let process =
            firing.process.context("the sender of a datagram is known, but was not told")?;
        ensure!(process.pid == stage.victim.pid() && process.comm == "vm-tests", "{process:?}");
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_firing_that_comes_in_names_both_ends() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    for family in net::families() {
        let ends = ((&stage.far, net::far(family)), (&stage.victim, net::near(family)));
        let flow = stage.udp("watched", ends.0, ends.1)?;
        let injection = client.inject(Loss::all().direction(Direction::In).on(&stage.target))?;
        let mut watch = watcher.watch(&injection.id)?;
        let firing = first_firing(&mut watch, &flow)?;
        let Some(What::Packet(packet)) = &firing.what else {
            anyhow::bail!("no packet in {firing:?}")
        };
        ensure!(packet.direction() == Direction::In && packet.protocol == 17, "{packet:?}");
        ensure!(packet.local_address == ends.1.1.to_string(), "{packet:?}");
        ensure!(packet.remote_address == ends.0.1.to_string(), "{packet:?}");
        ensure!(packet.local_port == u32::from(flow.receiver_port()), "{packet:?}");
        ensure!(packet.remote_port == u32::from(flow.sender().local.port()), "{packet:?}");
        // A bystander that happened to run is never blamed.
        let blamed = firing.process.map(|process| process.pid);
        ensure!(
            blamed.is_none_or(|pid| pid == stage.victim.pid()),
            "process {blamed:?} was blamed"
        );
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_echo_request_has_no_ports() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    for family in net::families() {
        let flow = stage.flow(&stage.victim, Transport::Icmp, family, Direction::Out)?;
        let injection = client.inject(Loss::all().on(&stage.target))?;
        let mut watch = watcher.watch(&injection.id)?;
        let firing = first_firing(&mut watch, &*flow)?;
        let Some(What::Packet(packet)) = &firing.what else {
            anyhow::bail!("no packet in {firing:?}")
        };
        let protocol = if family == Family::V4 { 1 } else { 58 };
        ensure!(
            packet.protocol == protocol && packet.local_port == 0 && packet.remote_port == 0,
            "{packet:?}"
        );
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// However many packets are lost, a watcher gets no more than a hundred a second of an injection.
fn firings_are_sampled() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    let flow = stage.victim_udp()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let mut watch = watcher.watch(&injection.id)?;
    first_firing(&mut watch, &flow)?;
    let started = Instant::now();
    // Long enough for several samples, however quickly packets are lost.
    while started.elapsed() < Duration::from_millis(200) {
        flow.round(1000, 0)?;
    }
    let elapsed = started.elapsed();
    client.recover(&injection.id)?;
    let (mut told, mut last) = (0, None);
    loop {
        match watch.next(SOON)?.context("the end of the injection was not told")? {
            Event::Firing(firing) => {
                ensure!(last < Some(firing.n), "event {} came after {last:?}", firing.n);
                (told, last) = (told + 1, Some(firing.n));
            }
            Event::Changed(injection) if injection.state() == State::Ended => break,
            Event::Changed(_) | Event::Missed(_) => {}
        }
    }
    let most = (elapsed.as_secs_f64() * 100.0).ceil() as usize + 2;
    ensure!((1..=most).contains(&told), "{told} firings in {elapsed:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn one_injection_can_be_watched() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    let (one, two) = (stage.victim_udp()?, stage.victim_udp()?);
    let on_one = client.inject(Loss::all().remote_port(one.receiver_port()).on(&stage.target))?;
    let on_two = client.inject(Loss::all().remote_port(two.receiver_port()).on(&stage.target))?;
    let mut watch = watcher.watch(&on_two.id)?;
    one.none_arrive()?;
    let first = first_firing(&mut watch, &two)?;
    ensure!(first.id == on_two.id, "{first:?}");
    one.none_arrive()?;
    client.recover(&on_one.id)?;
    client.recover(&on_two.id)?;
    loop {
        match watch.next(SOON)?.context("the end of the injection was not told")? {
            Event::Firing(firing) => {
                ensure!(firing.id == on_two.id, "{firing:?}");
            }
            Event::Changed(injection) => {
                ensure!(injection.id == on_two.id, "{injection:?}");
                if injection.state() == State::Ended {
                    break;
                }
            }
            Event::Missed(_) => {}
        }
    }
    match client.watch("no-such-injection").map(|_| ()) {
        Err(status) => {
            ensure!(crate::harness::reason(&status) == "UNKNOWN_INJECTION", "{status:?}");
        }
        Ok(()) => anyhow::bail!("an injection that does not exist can be watched"),
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
