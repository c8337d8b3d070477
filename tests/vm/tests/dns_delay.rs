//! `dns delay`: names take longer to be found, by their questions or by the answers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;
use hickory_proto::rr::RecordType;

use crate::harness::{
    Agent, Family, Network, Stage, balanced, needs, net, poll,
    questions::{KNOWN, WITHIN, answers, looked_up, name_server, question, questions, stub},
    tests, wire,
};

tests![
    questions_are_held,
    answers_are_held,
    types_and_names_are_told_apart,
    none_waits_for_another,
    connections_take_as_long_to_open,
    a_resolver_on_the_loopback_is_met,
];

/// Longer than an answer takes on a machine that is not busy.
const LATENCY: Duration = Duration::from_millis(400);

fn delay(names: &[&str], of: &str) -> v1::DnsDelay {
    v1::DnsDelay {
        questions: Some(questions(names)),
        of: of.into(),
        latency: wire(LATENCY),
        ..Default::default()
    }
}

fn on(stage: &Stage, delay: v1::DnsDelay) -> v1::Spec {
    Network::from(delay).on(&stage.target)
}

/// How long it takes to find a name.
fn time(agent: &Agent, to: SocketAddr, name: &str) -> Result<Duration> {
    let begin = Instant::now();
    answers(agent, to, name)?;
    Ok(begin.elapsed())
}

/// Never soon; and not later than it should be, but for a machine that is busy.
fn is_late(agent: &Agent, to: SocketAddr, name: &str) -> Result<()> {
    poll::until("a name to be late by the latency", WITHIN, || {
        let took = time(agent, to, name)?;
        ensure!(took >= LATENCY, "{name} took {took:?}");
        Ok((took < 2 * LATENCY).then_some(()))
    })
}

fn is_soon(agent: &Agent, to: SocketAddr, name: &str) -> Result<()> {
    poll::until(
        "a name to be soon",
        WITHIN,
        || Ok((time(agent, to, name)? < LATENCY).then_some(())),
    )
}

fn questions_are_held() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    for family in net::families() {
        let (_server, to) = name_server(&stage, family)?;
        is_soon(&stage.victim, to, "a.example")?;
        let injection = client.inject(on(&stage, delay(&["a.example"], "")))?;
        is_late(&stage.victim, to, "a.example")?;
        is_soon(&stage.victim, to, "other")?;
        is_soon(&stage.bystander, to, "a.example")?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired > 0 && counters.matched == counters.fired, "{counters:?}");
        is_soon(&stage.victim, to, "a.example")?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn answers_are_held() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    for family in net::families() {
        let (server, to) = name_server(&stage, family)?;
        let injection = client.inject(on(&stage, delay(&["*.example"], "answers")))?;
        // The name server has heard the question long before the answer is there.
        server.take_heard();
        let ask = question("a.example", RecordType::A)?.to_vec()?;
        let resolver = stage.victim.resolver(to, true)??;
        let early = stage.victim.ask_server(resolver, &ask, LATENCY / 4)??;
        ensure!(early.is_none() && server.take_heard().len() == 1, "it was not held: {early:?}");
        stage.victim.close(resolver)?;
        is_late(&stage.victim, to, "a.example")?;
        is_soon(&stage.victim, to, "other")?;
        is_soon(&stage.bystander, to, "a.example")?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired > 1 && counters.matched == counters.fired, "{counters:?}");
        is_soon(&stage.victim, to, "a.example")?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn types_and_names_are_told_apart() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    for of in ["queries", "answers"] {
        let mut fault = delay(&["*.example"], of);
        let asked = fault.questions.get_or_insert_default();
        asked.types.push("AAAA".into());
        asked.except.push("b.a.example".into());
        client.inject(on(&stage, fault))?;
        for (name, kind, is_held) in [
            ("a.example", RecordType::A, false),
            ("a.example", RecordType::AAAA, true),
            ("b.a.example", RecordType::AAAA, false),
            ("nobody.example", RecordType::AAAA, true),
        ] {
            let what = format!("{of} {name} {kind} to be as late as it should");
            poll::until(&what, WITHIN, || {
                let begin = Instant::now();
                looked_up(&stage.victim, to, name, kind)?;
                let took = begin.elapsed();
                ensure!(took >= LATENCY || !is_held, "{name} {kind} took {took:?}");
                Ok((is_held || took < LATENCY).then_some(()))
            })?;
        }
        client.recover_all()?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Two questions on one socket, as of a resolver that asks for both families: the second is not behind the first.
fn none_waits_for_another() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    let (_server, to) = name_server(&stage, Family::V4)?;
    let mut fault = delay(&["a.example"], "queries");
    fault.questions.get_or_insert_default().types.push("A".into());
    client.inject(on(&stage, fault))?;
    let resolver = stage.victim.resolver(to, true)??;
    let ask = |kind| Ok::<_, anyhow::Error>(question("a.example", kind)?.to_vec()?);
    let begin = Instant::now();
    let none = stage.victim.ask_server(resolver, &ask(RecordType::A)?, Duration::ZERO)??;
    ensure!(none.is_none(), "it was not held");
    let first = stage.victim.ask_server(resolver, &ask(RecordType::AAAA)?, WITHIN)??;
    let first = first.context("no answer")?;
    // It has overtaken the other.
    ensure!(first[first.len() - 4..] == [0, 28, 0, 1], "another answer: {first:?}");
    // The held one comes by itself; what is asked now is behind it and is not held.
    poll::until_ok("the answer that was held", WITHIN, || {
        let next = stage.victim.ask_server(resolver, &ask(RecordType::AAAA)?, WITHIN)??;
        let next = next.context("no answer")?;
        ensure!(next.len() > first.len(), "not yet");
        Ok(())
    })?;
    ensure!(begin.elapsed() >= LATENCY, "it took {:?}", begin.elapsed());
    stage.victim.close(resolver)?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn connections_take_as_long_to_open() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    let servers: Vec<SocketAddr> =
        net::families().into_iter().map(|family| SocketAddr::new(net::far(family), 53)).collect();
    for to in &servers {
        stage.far.listen(*to)?;
    }
    for (to, of) in servers.into_iter().flat_map(|to| [(to, "queries"), (to, "answers")]) {
        let mut fault = delay(&["a.example"], of);
        fault.questions.get_or_insert_default().tcp = "delay".into();
        let injection = client.inject(on(&stage, fault))?;
        let begin = Instant::now();
        let connection = stage.victim.connect(to, WITHIN)?.context("no connection")?;
        let took = begin.elapsed();
        ensure!(took >= LATENCY, "{to} {of}: it took {took:?}");
        // Open, it is as any other.
        poll::until("an open connection to be soon", WITHIN, || {
            let begin = Instant::now();
            let exchanged = stage.victim.exchange(connection, 100, WITHIN)?;
            ensure!(exchanged.complete, "{exchanged:?}");
            Ok((begin.elapsed() < LATENCY).then_some(()))
        })?;
        stage.victim.close(connection)?;
        poll::until("the bystander's connection to be soon", WITHIN, || {
            let begin = Instant::now();
            ensure!(stage.bystander.refusal(to, WITHIN)?.is_none(), "the bystander is refused");
            Ok((begin.elapsed() < LATENCY).then_some(()))
        })?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1, "{counters:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_resolver_on_the_loopback_is_met() -> Result<()> {
    let (stage, daemon) = Stage::served_with_loopback()?;
    let client = daemon.client()?;
    needs(&client, "dns delay")?;
    let (server, to) = stub(&stage, KNOWN)?;
    for of in ["queries", "answers"] {
        is_soon(&stage.victim, to, "a.example")?;
        client.inject(on(&stage, delay(&["a.example"], of)))?;
        is_late(&stage.victim, to, "a.example").with_context(|| of.to_owned())?;
        is_soon(&stage.bystander, to, "a.example")?;
        client.recover_all()?;
    }
    drop(server);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
