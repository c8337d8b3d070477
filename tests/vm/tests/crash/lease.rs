//! A daemon that gives no sign of life: its faults go on for the rest of the lease, and no longer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use chaos_common::proto::v1::Direction;
use nix::sys::signal::Signal;

use crate::harness::{
    Family, LEASE, Loss, Probe as _, Settings, Stage, active, balanced, net, poll, tests,
};

tests![
    a_killed_daemons_faults_become_inert,
    a_stopped_daemons_faults_become_inert_and_come_back,
    a_daemon_that_dies_half_way_is_inert_too,
    a_daemon_that_is_back_in_time_adopts,
    a_daemon_that_is_back_too_late_cleans_up,
    a_long_fault_outlives_many_leases,
];

/// What is left of a lease at least: it is renewed when a third is used, and a slow machine may be late.
const LEFT: Duration = Duration::from_millis(LEASE.as_millis() as u64 / 2);

/// Waits for the lease to lapse; the effect must last so long at least, and not much longer than the lease.
fn until_inert(stage: &Stage, since: Instant, at_least: Duration) -> Result<()> {
    let out = stage.victim_udp()?;
    let ends = ((&stage.far, net::far(Family::V4)), (&stage.victim, net::near(Family::V4)));
    let inward = stage.udp("victim, in", ends.0, ends.1)?;
    poll::all_along(at_least.saturating_sub(since.elapsed()), || {
        if since.elapsed() < at_least {
            out.none_arrive()?;
            inward.none_arrive()?;
        }
        Ok(())
    })?;
    // One round of a slow machine on top.
    let within = LEASE + Duration::from_secs(2);
    poll::until_ok("the lease to lapse", within, || {
        out.all_arrive_now()?;
        inward.all_arrive_now()
    })?;
    let elapsed = since.elapsed();
    ensure!(elapsed <= within, "inert only after {elapsed:?}, with a lease of {LEASE:?}");
    Ok(())
}

fn loss(stage: &Stage) -> chaos_common::proto::v1::Spec {
    Loss::all().direction(Direction::Both).lasting(Duration::from_secs(600)).on(&stage.target)
}

fn a_killed_daemons_faults_become_inert() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    daemon.client()?.inject(loss(&stage))?;
    let (out, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    out.none_arrive()?;
    daemon.kill()?;
    let died = Instant::now();
    // It was renewed a third of a lease ago at most.
    out.none_arrive()?;
    ensure!(died.elapsed() < LEASE, "this machine is too slow for the test");
    until_inert(&stage, died, LEFT)?;
    bystander.all_arrive()?;
    let daemon = stage.daemon()?;
    daemon.client()?.recover_all()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_stopped_daemons_faults_become_inert_and_come_back() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let injection = client.inject(loss(&stage))?;
    let out = stage.victim_udp()?;
    out.none_arrive()?;
    daemon.signal(Signal::SIGSTOP)?;
    until_inert(&stage, Instant::now(), LEFT)?;
    daemon.signal(Signal::SIGCONT)?;
    poll::until_ok("the lease to be renewed", Duration::from_secs(10), || out.none_arrive())?;
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(counters.past_lease > 0 && counters.past_deadline == 0, "{counters:?}");
    client.recover(&injection.id)?;
    out.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_dies_half_way_is_inert_too() -> Result<()> {
    let stage = Stage::new()?;
    // What is not whole need not act.
    let steps =
        [("rule-written", Duration::ZERO), ("hook-attached", Duration::ZERO), ("active", LEFT)];
    for (step, at_least) in steps {
        let dying = stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
        ensure!(dying.client()?.inject_as("half", loss(&stage)).is_err());
        dying.wait_killed()?;
        until_inert(&stage, Instant::now(), at_least)?;
        let daemon = stage.daemon()?;
        daemon.client()?.recover_all()?;
        stage.idle(&daemon)?;
        stage.finish(daemon)?;
    }
    Ok(())
}

fn a_daemon_that_is_back_in_time_adopts() -> Result<()> {
    let stage = Stage::new()?;
    let settings = || Settings { lease: Some(Duration::from_secs(20)), ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    let (out, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    let injection = daemon.client()?.inject_as("kept", loss(&stage))?;
    out.none_arrive()?;
    daemon.kill()?;
    out.none_arrive()?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let adopted = client.get("kept")?;
    active(&adopted)?;
    ensure!(
        adopted.seed == injection.seed && adopted.created_at == injection.created_at,
        "{adopted:?}"
    );
    out.none_arrive()?;
    bystander.all_arrive()?;
    let counters = balanced(&client.get("kept")?)?;
    ensure!(
        counters.fired >= 3 * u64::from(out.usual()) && counters.past_lease == 0,
        "{counters:?}"
    );

    // New interfaces are followed after the adoption as before it.
    net::wire(&stage.net.near, "near1", &stage.net.far, "far2", 78)?;
    let ends = (net::address(Family::V4, 78, 1), net::address(Family::V4, 78, 2));
    let new = stage.udp("new interface", (&stage.victim, ends.0), (&stage.far, ends.1))?;
    poll::until_ok("the fault to reach a new interface", Duration::from_secs(8), || {
        new.none_arrive()
    })?;
    client.recover("kept")?;
    out.all_arrive()?;
    new.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_is_back_too_late_cleans_up() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let out = stage.victim_udp()?;
    let short = Loss::all().lasting(Duration::from_secs(2)).on(&stage.target);
    daemon.client()?.inject_as("over", short)?;
    out.none_arrive()?;
    daemon.kill()?;
    poll::until_ok("the deadline", Duration::from_secs(5), || out.all_arrive_now())?;
    let daemon = stage.daemon()?;
    ensure!(daemon.client()?.list()?.is_empty(), "a fault past its deadline was adopted");
    out.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The lease is renewed without anybody asking for anything.
fn a_long_fault_outlives_many_leases() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage
        .daemon_with(Settings { lease: Some(Duration::from_secs(1)), ..Settings::default() })?;
    let client = daemon.client()?;
    let out = stage.victim_udp()?;
    let injection = client.inject(loss(&stage))?;
    poll::all_along(Duration::from_secs(4), || out.none_arrive())?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.past_lease == 0, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
