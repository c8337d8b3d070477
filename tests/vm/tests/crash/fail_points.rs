//! SIGKILL at every step of an injection and of its recovery.

use anyhow::{Result, bail, ensure};
use chaos_common::proto::v1::{Direction, State};
use libtest_mimic::Trial;

use crate::harness::{
    Client, Daemon, Datagrams, Loss, Probe as _, Settings, Stage, active, balanced, reason, trial,
};

const INJECTING: [&str; 5] =
    ["journal-reserved", "journal-written", "hook-attached", "rule-written", "active"];
const RECOVERING: [&str; 4] = ["recover-begun", "rule-removed", "hook-detached", "journal-removed"];

pub(crate) fn trials() -> Vec<Trial> {
    let name = |when: &str, step: &str| format!("{when}_{}", step.replace('-', "_"));
    let injecting =
        INJECTING.map(|step| trial(module_path!(), &name("inject", step), move || inject(step)));
    let recovering =
        RECOVERING.map(|step| trial(module_path!(), &name("recover", step), move || recover(step)));
    injecting.into_iter().chain(recovering).collect()
}

const ID: &str = "crashed";

fn loss(stage: &Stage) -> chaos_common::proto::v1::Spec {
    Loss::all().direction(Direction::Both).on(&stage.target)
}

/// What is there after a restart: all of the fault, or nothing.
fn whole_or_gone(
    client: &Client,
    out: &Datagrams<'_>,
    inward: &Datagrams<'_>,
) -> Result<Option<()>> {
    let known = match client.get(ID) {
        Ok(injection) => Some(injection),
        Err(status) if reason(&status) == "UNKNOWN_INJECTION" => None,
        Err(status) => return Err(status.into()),
    };
    match known {
        Some(injection) if injection.state() == State::Active => {
            out.none_arrive()?;
            inward.none_arrive()?;
            balanced(&client.get(ID)?)?;
            Ok(Some(()))
        }
        None => {
            out.all_arrive()?;
            inward.all_arrive()?;
            Ok(None)
        }
        Some(injection) if injection.state() == State::Ended => {
            out.all_arrive()?;
            inward.all_arrive()?;
            Ok(None)
        }
        Some(injection) => bail!("half there: {injection:?}"),
    }
}

struct Flows<'a> {
    out: Datagrams<'a>,
    inward: Datagrams<'a>,
    bystander: Datagrams<'a>,
}

fn flows(stage: &Stage) -> Result<Flows<'_>> {
    use crate::harness::{Family, net};
    let ends = ((&stage.far, net::far(Family::V4)), (&stage.victim, net::near(Family::V4)));
    let flows = Flows {
        out: stage.victim_udp()?,
        inward: stage.udp("victim, in", ends.0, ends.1)?,
        bystander: stage.bystander_udp()?,
    };
    flows.out.all_arrive()?;
    flows.inward.all_arrive()?;
    Ok(flows)
}

/// Starts a daemon that dies at a step, and lets it: the call that it was busy with fails.
fn die_injecting(stage: &Stage, step: &'static str) -> Result<()> {
    let daemon = stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
    let answer = daemon.client()?.inject_as(ID, loss(stage));
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    daemon.wait_killed()
}

fn inject(step: &'static str) -> Result<()> {
    let stage = Stage::new()?;
    let Flows { out, inward, bystander } = flows(&stage)?;
    die_injecting(&stage, step)?;
    bystander.all_arrive()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    bystander.all_arrive()?;
    let found = whole_or_gone(&client, &out, &inward)?;

    // Whoever asked did not hear an answer, and asks again.
    let answer = client.inject_as(ID, loss(&stage))?;
    match (answer.state(), found) {
        (State::Active, _) => {
            out.none_arrive()?;
            inward.none_arrive()?;
        }
        // It was cleaned up, and the daemon remembers how it ended.
        (State::Ended, None) => out.all_arrive()?,
        _ => bail!("found {found:?}, and then {answer:?}"),
    }
    ensure!(client.list()?.len() <= 1);
    client.recover(ID)?;
    out.all_arrive()?;
    inward.all_arrive()?;
    active(&client.inject_as("afterwards", loss(&stage))?)?;
    out.none_arrive()?;
    client.recover_all()?;
    bystander.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover(step: &'static str) -> Result<()> {
    let stage = Stage::new()?;
    let Flows { out, inward, bystander } = flows(&stage)?;
    let dying: Daemon =
        stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
    let client = dying.client()?;
    client.inject_as(ID, loss(&stage))?;
    out.none_arrive()?;
    let answer = client.recover(ID);
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    dying.wait_killed()?;
    bystander.all_arrive()?;

    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    if whole_or_gone(&client, &out, &inward)?.is_some() {
        ensure!(
            step == "recover-begun",
            "the fault is back although its recovery had reached `{step}`"
        );
        client.recover(ID)?;
    }
    out.all_arrive()?;
    inward.all_arrive()?;
    bystander.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
