//! Budget, deadline and counters.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{Direction, End, State};
use nix::sys::signal::Signal;

use crate::harness::{Loss, Probe as _, Settings, Stage, active, balanced, poll, reason, tests};

tests![
    a_budget_is_exact,
    a_budget_is_spent_by_both_directions,
    the_deadline_holds_with_the_daemon_stopped,
    an_expired_fault_is_cleaned_up,
    a_fault_that_never_matches_counts_nothing,
    a_target_takes_sixteen_faults,
];

fn a_budget_is_exact() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let injection = client.inject(Loss::all().times(7).on(&stage.target))?;
    let round = flow.round(50, 43)?;
    let first_seven: Vec<bool> = (0..50).map(|n| n < 7).collect();
    ensure!(round.lost() == first_seven, "{round:?}");
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(
        counters.fired == 7 && counters.over_budget == 43 && counters.matched == 50,
        "{counters:?}"
    );
    client.recover(&injection.id)?;

    // With dice, what they spare costs nothing.
    let injection = client.inject(Loss::percent(40.0).seed(4).times(5).on(&stage.target))?;
    let round = flow.round(100, 95)?;
    ensure!(round.arrived.len() == 95, "{round:?}");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 5 && counters.matched == 100, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_budget_is_spent_by_both_directions() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let family = crate::harness::Family::V4;
    let out = stage.victim_udp()?;
    let inward =
        stage.flow(&stage.victim, crate::harness::Transport::Udp, family, Direction::In)?;
    let injection =
        client.inject(Loss::all().direction(Direction::Both).times(10).on(&stage.target))?;
    let (sent, received) = (out.round(6, 0)?, inward.round(20, 16)?);
    ensure!(sent.arrived.is_empty() && received.arrived.len() == 16, "{sent:?} {received:?}");
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 10 && counters.over_budget == 16, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The deadline is the kernel's business: neither the daemon nor its lease is needed to end a fault.
fn the_deadline_holds_with_the_daemon_stopped() -> Result<()> {
    const LASTING: Duration = Duration::from_secs(3);
    let stage = Stage::new()?;
    let daemon = stage
        .daemon_with(Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() })?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let started = Instant::now();
    let injection = client.inject(Loss::all().lasting(LASTING).on(&stage.target))?;
    active(&injection)?;
    daemon.signal(Signal::SIGSTOP)?;
    flow.none_arrive()?;
    let checked = started.elapsed();
    ensure!(checked < LASTING, "this machine is too slow for the test: {checked:?} for one round");
    poll::until_ok("the deadline", LASTING * 2, || flow.all_arrive_now())?;
    let elapsed = started.elapsed();
    ensure!(elapsed >= LASTING, "the fault was over after {elapsed:?}, before its deadline");
    daemon.signal(Signal::SIGCONT)?;
    let ended = poll::until("the daemon to see the deadline", Duration::from_secs(10), || {
        Ok(Some(client.get(&injection.id)?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Expired, "{ended:?}");
    let counters = balanced(&ended)?;
    ensure!(
        counters.fired > 0 && counters.past_deadline > 0 && counters.past_lease == 0,
        "{counters:?}"
    );
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn an_expired_fault_is_cleaned_up() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let injection =
        client.inject(Loss::all().lasting(Duration::from_millis(1500)).on(&stage.target))?;
    flow.none_arrive()?;
    let created = injection.created_at.context("no time of creation")?;
    let expires = injection.expires_at.context("no time of expiry")?;
    let shown =
        (expires.seconds - created.seconds) as f64 + f64::from(expires.nanos - created.nanos) / 1e9;
    ensure!((1.4..1.7).contains(&shown), "a fault of 1.5 s is shown to last {shown} s");
    let ended = poll::until("the fault to expire", Duration::from_secs(10), || {
        Ok(Some(client.get(&injection.id)?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Expired && ended.ended_at.is_some(), "{ended:?}");
    flow.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_fault_that_never_matches_counts_nothing() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let injection = client.inject(Loss::all().remote(&["192.0.2.1"]).on(&stage.target))?;
    flow.all_arrive()?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 0, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_target_takes_sixteen_faults() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    let harmless = || Loss::all().remote(&["192.0.2.1"]).on(&stage.target);
    let ids = (0..15).map(|_| Ok(client.inject(harmless())?.id)).collect::<Result<Vec<_>>>()?;
    let last = client.inject(Loss::all().on(&stage.target))?;
    flow.none_arrive()?;
    match client.inject(harmless()) {
        Err(status) => ensure!(reason(&status) == "TARGET_FULL", "{status:?}"),
        Ok(injection) => anyhow::bail!("a seventeenth fault was accepted: {injection:?}"),
    }
    // The refused one left nothing, and there is room again after a recovery.
    ensure!(client.list()?.len() == 16 && daemon.journal()?.len() == 16);
    client.recover(&ids[3])?;
    flow.none_arrive()?;
    active(&client.inject(harmless())?)?;
    client.recover(&last.id)?;
    flow.all_arrive()?;
    client.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
