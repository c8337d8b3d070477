//! Several clients who ask at the same moment.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use chaos_common::proto::v1::{Direction, Injection, Spec};
use tonic::{Code, Status};

use crate::harness::{
    Client, Daemon, Loss, Probe as _, Stage, active, balanced, poll, reason, same, tests,
};

tests![
    the_same_under_one_id_makes_one_injection,
    different_faults_under_one_id_make_one_injection,
    two_camps_under_one_id_make_one_injection,
    recover_all_is_not_starved_by_those_who_inject,
];

const CLIENTS: usize = 8;
const ROUNDS: usize = 25;

/// Everybody asks for a fault of their own under one id at the same moment. Exactly one of the faults comes
/// about: whoever asked for it gets the same injection, all others hear that the id is taken.
fn race(clients: &[Client], id: &str, specs: &[Spec]) -> Result<Injection> {
    let start = Barrier::new(clients.len());
    let ask = |client: &Client, spec: &Spec| {
        start.wait();
        client.inject_as(id, spec.clone())
    };
    let answers: Vec<Result<Injection, Status>> = std::thread::scope(|scope| {
        let pairs = clients.iter().zip(specs);
        let threads: Vec<_> =
            pairs.map(|(client, spec)| scope.spawn(|| ask(client, spec))).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.collect::<Result<_, _>>().map_err(|_| anyhow!("a client panicked"))
    })?;
    let winners = || {
        answers.iter().zip(specs).filter_map(|(answer, spec)| Some((answer.as_ref().ok()?, spec)))
    };
    let (first, won) = winners().next().with_context(|| format!("nobody got it: {answers:?}"))?;
    active(first)?;
    for (answer, spec) in answers.iter().zip(specs) {
        match answer {
            Ok(injection) => {
                ensure!(spec == won, "two faults won: {first:?} and {injection:?}");
                same(first, injection)?;
            }
            Err(status) => {
                ensure!(spec != won, "the same was refused: {status:?}");
                let is_taken = status.code() == Code::AlreadyExists && reason(status) == "ID_TAKEN";
                ensure!(is_taken, "{status:?}");
            }
        }
    }
    Ok(first.clone())
}

/// Many races one after the other; nothing is left of any.
fn races(specs: impl Fn(&Stage) -> Vec<Spec>) -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let clients = (0..CLIENTS).map(|_| daemon.client()).collect::<Result<Vec<_>>>()?;
    let specs = specs(&stage);
    ensure!(specs.len() == clients.len());
    let victim = stage.victim_udp()?;
    for round in 0..ROUNDS {
        let id = format!("race-{round}");
        let run = || -> Result<()> {
            let winner = race(&clients, &id, &specs)?;
            is_alone(&daemon, &clients[0], &winner)?;
            let ended = clients[round % CLIENTS].recover(&id)?;
            balanced(&ended)?;
            stage.idle(&daemon)
        };
        run().with_context(|| format!("round {round}"))?;
    }
    victim.all_arrive()?;
    stage.finish(daemon)
}

fn is_alone(daemon: &Daemon, client: &Client, winner: &Injection) -> Result<()> {
    let live = client.list()?;
    ensure!(live.len() == 1 && daemon.journal()?.len() == 1, "{live:?}");
    same(&live[0], winner)
}

/// A fault like no other of these.
fn fault(stage: &Stage, number: usize) -> Spec {
    let direction = [Direction::Out, Direction::In, Direction::Both][number % 3];
    Loss::percent(10.0 + number as f64).direction(direction).on(&stage.target)
}

fn the_same_under_one_id_makes_one_injection() -> Result<()> {
    races(|stage| vec![fault(stage, 2); CLIENTS])
}

fn different_faults_under_one_id_make_one_injection() -> Result<()> {
    races(|stage| (0..CLIENTS).map(|number| fault(stage, number)).collect())
}

fn two_camps_under_one_id_make_one_injection() -> Result<()> {
    races(|stage| (0..CLIENTS).map(|number| fault(stage, number % 2)).collect())
}

/// Whoever pulls the switch must not wait for others to run out of ideas.
fn recover_all_is_not_starved_by_those_who_inject() -> Result<()> {
    const SOON: Duration = Duration::from_secs(2);
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let clients = (0..3).map(|_| daemon.client()).collect::<Result<Vec<_>>>()?;
    let (is_over, injected) = (AtomicBool::new(false), AtomicUsize::new(0));
    let inject_on = |client: &Client, spec: Spec| {
        while !is_over.load(Ordering::Relaxed) {
            // A target that is full for a moment is no reason to stop.
            injected.fetch_add(client.inject(spec.clone()).is_ok().into(), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for (number, other) in clients.iter().enumerate() {
            let spec = fault(&stage, number);
            scope.spawn(|| inject_on(other, spec));
        }
        let pull = || {
            for _ in 0..10 {
                let before = injected.load(Ordering::Relaxed);
                let started = Instant::now();
                let answer = client.recover_all()?;
                let took = started.elapsed();
                ensure!(answer.failed.is_empty() && took < SOON, "after {took:?}: {answer:?}");
                poll::until("another injection", Duration::from_secs(10), || {
                    Ok((injected.load(Ordering::Relaxed) > before).then_some(()))
                })?;
            }
            Ok(())
        };
        let pulled = pull();
        is_over.store(true, Ordering::Relaxed);
        pulled
    })?;
    client.recover_all()?;
    stage.victim_udp()?.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
