//! What the calls promise: the same again is the same, and everything is told apart by its id.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, End, Injection, State};
use tonic::Code;

use crate::harness::{Loss, Probe as _, Stage, active, poll, refused, same, tests};

tests![
    inject_is_idempotent,
    an_id_is_taken_once,
    renew_moves_the_deadline,
    recover_is_idempotent,
    recover_all_ends_everything,
    list_and_get_agree,
    a_plan_changes_nothing,
    one_follows_the_other_at_once,
];

fn inject_is_idempotent() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let spec = || Loss::percent(30.0).times(9).on(&stage.target);
    let first = client.inject_as("again", spec())?;
    let again = client.inject_as("again", spec())?;
    same(&first, &again)?;
    ensure!(client.list()?.len() == 1 && daemon.journal()?.len() == 1);
    client.recover("again")?;
    // The daemon still knows how it ended, and does not start it anew.
    let late = client.inject_as("again", spec())?;
    ensure!(late.state() == State::Ended && late.end() == End::Recovered, "{late:?}");
    // Without an id, a repeated request is a second injection.
    let (one, two) = (client.inject(spec())?, client.inject(spec())?);
    ensure!(one.id != two.id);
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_id_is_taken_once() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject_as("mine", Loss::all().on(&stage.target))?;
    for other in [
        Loss::percent(50.0).on(&stage.target),
        Loss::all().times(1).on(&stage.target),
        Loss::all().lasting(Duration::from_secs(59)).on(&stage.target),
        Loss::all().on(&stage.sibling),
        Loss::all().seed(1).on(&stage.target),
    ] {
        let status = refused(client.inject_as("mine", other), "ID_TAKEN")?;
        ensure!(
            status.code() == Code::AlreadyExists && status.message().contains("mine"),
            "{status:?}"
        );
    }
    ensure!(client.list()?.len() == 1);
    flow.none_arrive()?;
    stage.finish(daemon)
}

fn renew_moves_the_deadline() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let short = Duration::from_secs(3);
    let injection = client.inject_as("renewed", Loss::all().lasting(short).on(&stage.target))?;
    let renewed = client.renew("renewed", Some(Duration::from_secs(60)))?;
    let (before, after) =
        (injection.expires_at.context("no expiry")?, renewed.expires_at.context("no expiry")?);
    ensure!((55..=60).contains(&(after.seconds - before.seconds)), "{before:?} became {after:?}");
    let beyond = Instant::now() + short + Duration::from_millis(500);
    poll::until("the first deadline to pass", short * 2, || {
        Ok((Instant::now() > beyond).then_some(()))
    })?;
    flow.none_arrive()?;

    // Back to a short one, by the duration first asked for.
    client.renew("renewed", None)?;
    let ended = poll::until("the renewed fault to expire", Duration::from_secs(15), || {
        Ok(Some(client.get("renewed")?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Expired, "{ended:?}");
    flow.all_arrive()?;
    let status = refused(client.renew("renewed", None), "INJECTION_OVER")?;
    ensure!(status.code() == Code::FailedPrecondition, "{status:?}");
    let status = refused(client.renew("nobody", None), "UNKNOWN_INJECTION")?;
    ensure!(status.code() == Code::NotFound, "{status:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover_is_idempotent() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let first = client.recover(&injection.id)?;
    let second = client.recover(&injection.id)?;
    ensure!(first.end() == End::Recovered, "{first:?}");
    same(&first, &second)?;
    let status = refused(client.recover("nobody"), "UNKNOWN_INJECTION")?;
    ensure!(status.code() == Code::NotFound && status.message().contains("nobody"), "{status:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover_all_ends_everything() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    for id in ["one", "two", "three"] {
        client.inject_as(id, Loss::all().on(&stage.target))?;
    }
    victim.none_arrive()?;
    bystander.all_arrive()?;
    let answer = client.recover_all()?;
    let mut recovered = answer.recovered.clone();
    recovered.sort();
    ensure!(recovered == ["one", "three", "two"] && answer.failed.is_empty(), "{answer:?}");
    victim.all_arrive()?;
    ensure!(client.list()?.is_empty() && client.recover_all()?.recovered.is_empty());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn list_and_get_agree() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    ensure!(client.list_ended_too()?.is_empty());
    let spec =
        Loss::percent(12.5).seed(77).times(3).lasting(Duration::from_secs(90)).on(&stage.target);
    for id in ["b", "a", "c"] {
        client.inject_as(id, spec.clone())?;
    }
    let ids = |list: &[Injection]| -> Vec<String> {
        list.iter().map(|injection| injection.id.clone()).collect()
    };
    let live = client.list()?;
    ensure!(ids(&live) == ["b", "a", "c"], "not oldest first: {:?}", ids(&live));
    for injection in &live {
        same(&client.get(&injection.id)?, injection)?;
        ensure!(
            injection.cgroup == stage.target.path() && injection.cgroup_id == stage.target.id()?
        );
        ensure!(injection.seed == 77 && injection.requested_by.contains("uid 0"), "{injection:?}");
        let asked = injection.spec.clone().context("no spec")?;
        ensure!(
            asked.times == Some(3) && asked.duration.map(|duration| duration.seconds) == Some(90),
            "{asked:?}"
        );
    }
    client.recover("a")?;
    ensure!(ids(&client.list()?) == ["b", "c"]);
    let mut all = ids(&client.list_ended_too()?);
    all.sort();
    ensure!(all == ["a", "b", "c"]);
    refused(client.get("nobody"), "UNKNOWN_INJECTION")?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_plan_changes_nothing() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let plan = client.plan(Loss::all().on(&stage.target))?;
    ensure!(plan.cgroup == stage.target.path() && !plan.effects.is_empty(), "{plan:?}");
    ensure!(
        plan.effects.iter().all(|effect| !effect.is_empty() && !effect.contains('\n')),
        "{plan:?}"
    );
    ensure!(client.list_ended_too()?.is_empty());
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The kernel detaches some hooks only a moment after their last holder is gone; nobody must notice.
fn one_follows_the_other_at_once() -> Result<()> {
    const ROUNDS: usize = 100;
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    for round in 0..ROUNDS {
        let spec = Loss::all().direction(Direction::Both).on(&stage.target);
        let injection = client.inject(spec).with_context(|| format!("round {round}"))?;
        active(&injection)?;
        let ended = client.recover(&injection.id)?;
        ensure!(
            ended.state() == State::Ended && ended.message.is_empty(),
            "round {round}: {ended:?}"
        );
    }
    flow.all_arrive()?;
    client.inject(Loss::all().on(&stage.target))?;
    flow.none_arrive()?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
