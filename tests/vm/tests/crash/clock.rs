//! Somebody sets the wall clock while a fault is on. Only test VMs are treated so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{End, State};
use nix::{
    sys::time::TimeSpec,
    time::{ClockId, clock_gettime, clock_settime},
};

use crate::harness::{Loss, Probe as _, Settings, Stage, active, balanced, poll, skip, tests};

tests![a_clock_a_year_ahead, a_clock_a_year_behind, a_restart_after_the_clock_was_set];

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// The wall clock moved; it is moved back in the end.
struct Moved {
    from: TimeSpec,
    since: Instant,
}

impl Moved {
    fn by(change: impl FnOnce(TimeSpec) -> TimeSpec) -> Result<Self> {
        let from = clock_gettime(ClockId::CLOCK_REALTIME)?;
        let since = Instant::now();
        clock_settime(ClockId::CLOCK_REALTIME, change(from)).context("cannot set the clock")?;
        Ok(Self { from, since })
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        let now = self.from + TimeSpec::from_duration(self.since.elapsed());
        if let Err(error) = clock_settime(ClockId::CLOCK_REALTIME, now) {
            eprintln!("vm-tests: cannot set the clock back: {error}");
        }
    }
}

fn only_here() -> Result<()> {
    if skip::own_machine() {
        Ok(())
    } else {
        skip("the clock of this machine is not the tests' own; a VM runs this")
    }
}

fn moved(change: impl FnOnce(TimeSpec) -> TimeSpec) -> Result<()> {
    const LASTING: Duration = Duration::from_secs(8);
    only_here()?;
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let out = stage.victim_udp()?;
    let started = Instant::now();
    let injection = client.inject(Loss::all().lasting(LASTING).on(&stage.target))?;
    let clock = Moved::by(change)?;
    // Longer than the lease, which must be renewed by another clock than this.
    poll::all_along(Duration::from_secs(5), || out.none_arrive())?;
    active(&client.get(&injection.id)?)?;
    let ended = poll::until("the deadline", LASTING * 2, || {
        Ok(Some(client.get(&injection.id)?).filter(|injection| injection.state() == State::Ended))
    })?;
    let elapsed = started.elapsed();
    ensure!(ended.end() == End::Expired && elapsed >= LASTING, "after {elapsed:?}: {ended:?}");
    let counters = balanced(&ended)?;
    ensure!(counters.past_lease == 0, "{counters:?}");
    out.all_arrive()?;
    drop(clock);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_clock_a_year_ahead() -> Result<()> {
    moved(|now| now + TimeSpec::from_duration(YEAR))
}

fn a_clock_a_year_behind() -> Result<()> {
    moved(|now| now - TimeSpec::from_duration(YEAR))
}

fn a_restart_after_the_clock_was_set() -> Result<()> {
    only_here()?;
    let stage = Stage::new()?;
    let settings = || Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    let out = stage.victim_udp()?;
    daemon.client()?.inject_as("kept", Loss::all().on(&stage.target))?;
    daemon.kill()?;
    let clock = Moved::by(|now| now + TimeSpec::from_duration(YEAR))?;
    let daemon = stage.daemon_with(settings())?;
    active(&daemon.client()?.get("kept")?)?;
    out.none_arrive()?;
    daemon.client()?.recover("kept")?;
    out.all_arrive()?;
    drop(clock);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
