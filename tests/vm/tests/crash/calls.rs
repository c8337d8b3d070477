//! Faults of calls at every step of their life: cut off by the daemon's death, with the lease, by the kill switch.

use std::time::Duration;

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{End, Spec, State};
use libtest_mimic::Trial;
use nix::{errno::Errno, sys::signal::Signal};

use super::kill_switch::pull;
use crate::file_delay::{HOUR, LATENCY, late, soon, while_waiting};
use crate::harness::{
    Agent, Client, Daemon, Settings, Stage, active, fails, file_delay, files, needs_aspect, openat,
    poll, trial, works,
};
use crate::victim::Deed;

const ID: &str = "of-calls";
/// Longer than the lease of test daemons.
const SOON: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    let steps = [
        ("rule-written", Some(End::Interrupted)),
        // All of it is there; nobody had only been told.
        ("hook-attached", None),
        ("rule-removed", Some(End::Recovered)),
        ("hook-detached", Some(End::Recovered)),
    ];
    let cut_off = steps.map(|(step, wanted)| {
        let name = format!("cut_off_at_{}", step.replace('-', "_"));
        trial(module_path!(), &name, move || cut_off(&FAILING, step, wanted))
    });
    let held =
        [("files-watched", None), ("files-freed", Some(End::Recovered))].map(|(step, wanted)| {
            let name = format!("cut_off_at_{}", step.replace('-', "_"));
            trial(module_path!(), &name, move || held_cut_off(step, wanted))
        });
    type Case = (&'static str, fn() -> Result<()>);
    let others: [Case; 4] = [
        ("the_kill_switch_lets_everybody_go_on", the_kill_switch_lets_everybody_go_on),
        ("it_is_inert_after_the_lease", it_is_inert_after_the_lease),
        ("the_kill_switch_ends_it", the_kill_switch_ends_it),
        ("pins_that_go_end_it", pins_that_go_end_it),
    ];
    let others = others.map(|(name, test)| trial(module_path!(), name, test));
    cut_off.into_iter().chain(held).chain(others).collect()
}

/// A daemon, and a file that does not open any more as soon as the fault is there.
fn begin(stage: &Stage, settings: Settings) -> Result<(Daemon, Client, Deed)> {
    let daemon = stage.daemon_with(settings)?;
    let client = daemon.client()?;
    needs_aspect(&client, "file error", "open")?;
    let path = stage.folder.path().join("file");
    std::fs::write(&path, "text")?;
    Ok((daemon, client, openat(&path.to_string_lossy())))
}

fn spec(stage: &Stage) -> Spec {
    files(&["file"], &["open", "read"], "EIO").on(&stage.target)
}

/// A fault, and how a call tells that it is there, or not.
struct Case {
    spec: fn(&Stage, &str) -> Spec,
    hit: fn(&Agent, &Deed) -> Result<()>,
    spared: fn(&Agent, &Deed) -> Result<()>,
}

const FAILING: Case = Case {
    spec: |stage, _| spec(stage),
    hit: |agent, open| fails(agent, open, Errno::EIO),
    spared: works,
};

const WAITING: Case = Case {
    spec: |stage, path| file_delay(&[path], &["open"], LATENCY, |_| {}).on(&stage.target),
    hit: late,
    spared: soon,
};

/// Dies at a step, and comes back to what is over, or goes on.
fn cut_off(case: &Case, step: &'static str, wanted: Option<End>) -> Result<()> {
    let Case { spec, hit, spared } = case;
    let stage = Stage::new()?;
    let settings = Settings { failpoint: Some(step), ..Settings::default() };
    let (dying, client, open) = begin(&stage, settings)?;
    let path = stage.folder.path().join("file").to_string_lossy().into_owned();
    let mut answer = client.inject_as(ID, spec(&stage, &path));
    if wanted == Some(End::Recovered) {
        answer?;
        hit(&stage.victim, &open)?;
        answer = client.recover(ID);
    }
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    dying.wait_killed()?;
    spared(&stage.bystander, &open)?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let found = client.get(ID)?;
    match wanted {
        Some(end) => {
            ensure!(found.state() == State::Ended && found.end() == end, "{found:?}");
        }
        None => {
            active(&found)?;
            hit(&stage.victim, &open)?;
            spared(&stage.bystander, &open)?;
            client.recover(ID)?;
        }
    }
    spared(&stage.victim, &open)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The same of calls that wait, where they can: without a daemon nobody does.
fn held_cut_off(step: &'static str, wanted: Option<End>) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, "file delay", "open")?;
    stage.finish(daemon)?;
    cut_off(&WAITING, step, wanted)
}

fn it_is_inert_after_the_lease() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, client, open) = begin(&stage, Settings::default())?;
    client.inject_as(ID, spec(&stage))?;
    fails(&stage.victim, &open, Errno::EIO)?;
    daemon.kill()?;
    fails(&stage.victim, &open, Errno::EIO)?;
    poll::until_ok("the lease to lapse", SOON, || works(&stage.victim, &open))?;
    let daemon = stage.daemon()?;
    let found = daemon.client()?.get(ID)?;
    ensure!(found.state() == State::Ended && found.end() == End::Interrupted, "{found:?}");
    let is_known = found.counters.is_some_and(|counters| {
        counters.fired >= 2 && counters.matched == counters.fired + counters.past_lease
    });
    ensure!(is_known, "what it did is forgotten: {found:?}");
    works(&stage.victim, &open)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_kill_switch_ends_it() -> Result<()> {
    let stage = Stage::new()?;
    let settings = Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() };
    let (daemon, client, open) = begin(&stage, settings)?;
    client.inject_as(ID, spec(&stage))?;
    fails(&stage.victim, &open, Errno::EIO)?;
    daemon.kill()?;
    pull(&stage)?;
    // Links on functions go with their pins when the kernel gets round to it.
    poll::until_ok("the hooks to be gone", SOON, || works(&stage.victim, &open))?;
    let daemon = stage.daemon()?;
    ensure!(daemon.client()?.list()?.is_empty(), "something is live");
    works(&stage.victim, &open)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn pins_that_go_end_it() -> Result<()> {
    let stage = Stage::new()?;
    let (daemon, client, open) = begin(&stage, Settings::default())?;
    client.inject_as(ID, spec(&stage))?;
    fails(&stage.victim, &open, Errno::EIO)?;
    std::fs::remove_dir_all(stage.scratch.bpffs().join("chaos"))?;
    poll::until_ok("the daemon to notice", SOON, || {
        let found = client.get(ID)?;
        ensure!(found.state() == State::Ended && found.end() == End::Interrupted, "{found:?}");
        works(&stage.victim, &open)
    })?;
    stage.finish(daemon)
}

/// Also of a daemon that hangs, long before its lease is over.
fn the_kill_switch_lets_everybody_go_on() -> Result<()> {
    let stage = Stage::new()?;
    let settings = Settings { lease: Some(Duration::from_secs(120)), ..Settings::default() };
    let (daemon, client, _) = begin(&stage, settings)?;
    needs_aspect(&client, "file delay", "open")?;
    let path = stage.folder.path().join("file").to_string_lossy().into_owned();
    let spec = file_delay(&[&path], &["open"], HOUR, |_| {}).on(&stage.target);
    client.inject_as(ID, spec)?;
    let after = while_waiting(&stage, &path, || {
        daemon.signal(Signal::SIGSTOP)?;
        pull(&stage).map(drop)
    })?;
    ensure!(after < Duration::from_secs(2), "it went on after {after:?}");
    daemon.signal(Signal::SIGCONT)?;
    poll::until_ok("the daemon to notice", Duration::from_secs(60), || {
        let found = client.get(ID)?;
        ensure!(found.state() == State::Ended && found.end() == End::Interrupted, "{found:?}");
        soon(&stage.victim, &openat(&path))
    })?;
    stage.finish(daemon)
}
