//! SIGKILL at every step of an injection and of its recovery.

use anyhow::{Result, bail, ensure};
use chaos_common::proto::v1::{Direction, End, Spec, State};
use libtest_mimic::Trial;

use super::{
    adoption::both_ways,
    kill_switch::{pull, without_socket},
};
use crate::harness::{
    Client, Datagrams, Loss, Network, Probe as _, Settings, Stage, active, balanced, delay,
    holds_in_memory, needs, reason, trial,
};
use crate::network_delay::{LATENCY, all_late, all_soon};

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
    let waiting = [
        trial(module_path!(), "inject_hop_made", || hop(inject_hop_made)),
        trial(module_path!(), "recover_hop_left", || hop(recover_hop_left)),
        trial(module_path!(), "the_kill_switch_removes_the_hop", || {
            hop(the_kill_switch_removes_the_hop)
        }),
    ];
    injecting.into_iter().chain(recovering).chain(waiting).collect()
}

const ID: &str = "crashed";

fn loss(stage: &Stage) -> Spec {
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

/// A stage where packets can wait, and how many devices a killed daemon leaves there for that.
fn hop(test: fn(Stage, usize) -> Result<()>) -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    needs(&client, "network delay")?;
    let left = if holds_in_memory(&client)? { 0 } else { 2 };
    stage.finish(daemon)?;
    test(stage, left)
}

fn waiting(stage: &Stage) -> Spec {
    Network::from(delay(LATENCY)).direction(Direction::Both).on(&stage.target)
}

/// Interfaces of ours.
fn hops(stage: &Stage) -> Result<Vec<String>> {
    let all = stage.net.near.netlink().interfaces()?.into_iter().map(|(_, name)| name);
    Ok(all.filter(|name| name.starts_with("chaos-")).collect())
}

impl Flows<'_> {
    /// The victim's; the bystander's are not.
    fn all_late(&self) -> Result<()> {
        all_late(&self.out)?;
        all_late(&self.inward)?;
        all_soon(&self.bystander)
    }

    fn all_soon(&self) -> Result<()> {
        [&self.out, &self.inward, &self.bystander].into_iter().try_for_each(|flow| all_soon(flow))
    }
}

/// Fails unless an injection ended so, and nothing waits.
fn over(client: &Client, end: End, flows: &Flows<'_>) -> Result<()> {
    let found = client.get(ID)?;
    ensure!(found.state() == State::Ended && found.end() == end, "{found:?}");
    ensure!(client.list()?.is_empty(), "something is live");
    flows.all_soon()
}

/// A place to wait alone is not the fault: it is over.
fn inject_hop_made(stage: Stage, left: usize) -> Result<()> {
    let flows = Flows::new(&stage)?;
    let settings = Settings { failpoint: Some("hop-made"), ..Settings::default() };
    let dying = stage.daemon_with(settings)?;
    let answer = dying.client()?.inject_as(ID, waiting(&stage));
    ensure!(answer.is_err(), "the daemon answered: {answer:?}");
    dying.wait_killed()?;
    ensure!(hops(&stage)?.len() == left, "not {left} devices were left: {:?}", hops(&stage)?);
    flows.all_soon()?;

    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    over(&client, End::Interrupted, &flows)?;
    stage.idle(&daemon)?;
    // Whoever asks again hears of it, and another works.
    client.inject_as(ID, waiting(&stage))?;
    over(&client, End::Interrupted, &flows)?;
    active(&client.inject_as("afterwards", waiting(&stage))?)?;
    flows.all_late()?;
    client.recover_all()?;
    flows.all_soon()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn recover_hop_left(stage: Stage, _left: usize) -> Result<()> {
    let flows = Flows::new(&stage)?;
    let settings = Settings { failpoint: Some("hop-left"), ..Settings::default() };
    let dying = stage.daemon_with(settings)?;
    let client = dying.client()?;
    client.inject_as(ID, waiting(&stage))?;
    flows.all_late()?;
    let answer = client.recover(ID);
    ensure!(answer.is_err(), "the daemon answered: {answer:?}");
    dying.wait_killed()?;
    flows.all_soon()?;

    let daemon = stage.daemon()?;
    over(&daemon.client()?, End::Recovered, &flows)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// `chaos recover --all` where a killed daemon left a delay.
fn the_kill_switch_removes_the_hop(stage: Stage, left: usize) -> Result<()> {
    let flows = Flows::new(&stage)?;
    let daemon = stage.daemon()?;
    daemon.client()?.inject_as(ID, waiting(&stage))?;
    flows.all_late()?;
    daemon.kill()?;
    if left > 0 { flows.all_late() } else { flows.all_soon() }?;
    ensure!(hops(&stage)?.len() == left, "{:?}", hops(&stage)?);
    pull(&stage)?;
    flows.all_soon()?;
    ensure!(hops(&stage)?.is_empty(), "left: {:?}", hops(&stage)?);
    without_socket(&stage)?;
    stage.clean()
}
