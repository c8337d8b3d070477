//! SIGKILL at every step of an injection and of its recovery.

use anyhow::{Result, bail, ensure};
use chaos_common::proto::v1::{Direction, End, State};
use libtest_mimic::Trial;

use super::adoption::both_ways;
use crate::harness::{
    Client, Datagrams, Loss, Probe as _, Settings, Stage, active, balanced, reason, trial,
};

/// What the next daemon says of an injection that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing: no word of it was on disk, or none any more.
    Unknown,
    /// That it is over.
    Ended(End),
    /// That it goes on.
    Active,
}

/// Steps in their order. Only what is whole goes on: a rule without its hooks, or with one of two, is over.
const INJECTING: [(&str, Found); 5] = [
    ("journal-reserved", Found::Unknown),
    ("journal-written", Found::Ended(End::Interrupted)),
    ("rule-written", Found::Ended(End::Interrupted)),
    ("hook-attached", Found::Ended(End::Interrupted)),
    ("active", Found::Active),
];
/// Whoever asked for an end gets it, also when the daemon had no more than noted it.
const RECOVERING: [(&str, Found); 4] = [
    ("recover-begun", Found::Ended(End::Recovered)),
    ("rule-removed", Found::Ended(End::Recovered)),
    ("hook-detached", Found::Ended(End::Recovered)),
    ("journal-removed", Found::Unknown),
];

pub(crate) fn trials() -> Vec<Trial> {
    let name = |when: &str, step: &str| format!("{when}_{}", step.replace('-', "_"));
    let injecting = INJECTING.map(|(step, found)| {
        trial(module_path!(), &name("inject", step), move || inject(step, found))
    });
    let recovering = RECOVERING.map(|(step, found)| {
        trial(module_path!(), &name("recover", step), move || recover(step, found))
    });
    injecting.into_iter().chain(recovering).collect()
}

const ID: &str = "crashed";

fn loss(stage: &Stage) -> chaos_common::proto::v1::Spec {
    Loss::all().direction(Direction::Both).on(&stage.target)
}

/// Fails unless the daemon says what it should, and the traffic bears it out: all of the fault, or nothing.
fn check(client: &Client, wanted: Found, flows: &Flows<'_>) -> Result<()> {
    let found = match client.get(ID) {
        Ok(injection) => match injection.state() {
            State::Active => Found::Active,
            State::Ended => Found::Ended(injection.end()),
            other @ (State::Unspecified | State::Applying | State::Recovering | State::Stuck) => {
                bail!("half there: {other:?}, {injection:?}")
            }
        },
        Err(status) if reason(&status) == "UNKNOWN_INJECTION" => Found::Unknown,
        Err(status) => return Err(status.into()),
    };
    ensure!(found == wanted, "found {found:?}, not {wanted:?}");
    match found {
        Found::Active => {
            flows.none_arrive()?;
            balanced(&client.get(ID)?)?;
            Ok(())
        }
        Found::Unknown | Found::Ended(_) => flows.all_arrive(),
    }
}

struct Flows<'a> {
    out: Datagrams<'a>,
    inward: Datagrams<'a>,
    bystander: Datagrams<'a>,
}

impl<'a> Flows<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let [out, inward] = both_ways(stage, "victim", &stage.victim)?;
        let flows = Self { out, inward, bystander: stage.bystander_udp()? };
        flows.all_arrive()?;
        Ok(flows)
    }

    /// Of the victim's; the bystander's do.
    fn none_arrive(&self) -> Result<()> {
        self.out.none_arrive()?;
        self.inward.none_arrive()?;
        self.bystander.all_arrive()
    }

    fn all_arrive(&self) -> Result<()> {
        self.out.all_arrive()?;
        self.inward.all_arrive()?;
        self.bystander.all_arrive()
    }
}

/// Starts a daemon that dies at a step, and lets it: the call that it was busy with fails.
fn die_injecting(stage: &Stage, step: &'static str) -> Result<()> {
    let daemon = stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
    let answer = daemon.client()?.inject_as(ID, loss(stage));
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    daemon.wait_killed()
}

fn inject(step: &'static str, wanted: Found) -> Result<()> {
    let stage = Stage::new()?;
    let flows = Flows::new(&stage)?;
    die_injecting(&stage, step)?;
    flows.bystander.all_arrive()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    check(&client, wanted, &flows)?;
    let live = client.list()?.len();
    ensure!(live == usize::from(wanted == Found::Active), "{live} are live");

    // Whoever asked did not hear an answer, and asks again: what ended is remembered, and does not come back.
    client.inject_as(ID, loss(&stage))?;
    let again = if wanted == Found::Unknown { Found::Active } else { wanted };
    check(&client, again, &flows)?;
    client.recover(ID)?;
    flows.all_arrive()?;
    active(&client.inject_as("afterwards", loss(&stage))?)?;
    flows.none_arrive()?;
    client.recover_all()?;
    flows.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover(step: &'static str, wanted: Found) -> Result<()> {
    let stage = Stage::new()?;
    let flows = Flows::new(&stage)?;
    let dying = stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
    let client = dying.client()?;
    client.inject_as(ID, loss(&stage))?;
    flows.none_arrive()?;
    let answer = client.recover(ID);
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    dying.wait_killed()?;
    flows.bystander.all_arrive()?;

    let daemon = stage.daemon()?;
    check(&daemon.client()?, wanted, &flows)?;
    ensure!(daemon.client()?.list()?.is_empty());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
