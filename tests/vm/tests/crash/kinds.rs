//! Every kind of the network family outlives its daemon, and one that was cut off by its death is gone: what is not
//! told of loss and delay elsewhere.

use anyhow::{Result, ensure};
use chaos_common::proto::v1::{
    self, Checksum, Direction, End, RejectAnswer, Spec, State, network_rate, network_reject,
    network_reorder,
};
use libtest_mimic::Trial;

use super::adoption::both_ways;
use crate::harness::{
    Client, Datagrams, Network, Probe as _, Settings, Stage, active, needs, trial, wire,
};
use crate::network_delay::LATENCY;

/// A kind, and what its packets tell of it.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// As a daemon lists it.
    fault: &'static str,
    spec: fn() -> Network,
    bites: fn(&Datagrams<'_>) -> Result<()>,
}

const DUPLICATE: Kind = Kind {
    name: "duplicate",
    fault: "network duplicate",
    spec: || v1::NetworkDuplicate { percent: 100.0, ..Default::default() }.into(),
    bites: |flow| {
        let round = flow.round(20, 40)?;
        ensure!(round.arrived.len() == 40, "{}: {round:?}", flow.name());
        Ok(())
    },
};

const FIXED: Kind = Kind {
    name: "corrupt_fixed",
    fault: "network corrupt",
    spec: || corrupt(Checksum::Fixed),
    bites: |flow| {
        let round = flow.round(20, 20)?;
        ensure!(round.spoilt == 20, "{}: {round:?}", flow.name());
        Ok(())
    },
};

const BROKEN: Kind = Kind {
    name: "corrupt_broken",
    fault: "network corrupt",
    spec: || corrupt(Checksum::Broken),
    bites: |flow| flow.none_arrive(),
};

const REORDER: Kind = Kind {
    name: "reorder",
    fault: "network reorder",
    spec: || {
        let model = Some(network_reorder::Model::Every(2));
        v1::NetworkReorder { model, time: wire(LATENCY), ..Default::default() }.into()
    },
    bites: |flow| {
        let round = flow.round(20, 20)?;
        let in_order = round.arrived.is_sorted();
        ensure!(round.arrived.len() == 20 && !in_order, "{}: {round:?}", flow.name());
        Ok(())
    },
};

const RATE: Kind = Kind {
    name: "rate",
    fault: "network rate",
    // A datagram of 1,000 bytes takes a tenth of a second.
    spec: || {
        let excess = Some(network_rate::Excess::QueueBytes(1 << 20));
        v1::NetworkRate { bits_per_second: 83_360, excess, ..Default::default() }.into()
    },
    bites: |flow| {
        let round = flow.round(20, 20)?;
        let last = round.late_us.last().copied().unwrap_or_default();
        ensure!(last > 1_000_000, "{}: the last was {last} us late", flow.name());
        Ok(())
    },
};

const REJECT: Kind = Kind {
    name: "reject",
    fault: "network reject",
    spec: || {
        let with = Some(network_reject::With::Answer(RejectAnswer::PortUnreachable.into()));
        v1::NetworkReject { with, ..Default::default() }.into()
    },
    bites: |flow| flow.none_arrive(),
};

fn corrupt(checksum: Checksum) -> Network {
    v1::NetworkCorrupt { percent: 100.0, checksum: checksum.into(), ..Default::default() }.into()
}

pub(crate) fn trials() -> Vec<Trial> {
    let outlive = [DUPLICATE, FIXED, BROKEN, REORDER, RATE, REJECT].map(|kind| {
        let name = format!("{}_outlives_its_daemon", kind.name);
        trial(module_path!(), &name, move || outlives(kind))
    });
    let injecting = [(DUPLICATE, "hook-attached"), (BROKEN, "hop-made"), (BROKEN, "rule-written")];
    let recovering = [(DUPLICATE, "hook-detached"), (BROKEN, "hop-left"), (BROKEN, "rule-removed")];
    let word = |step: &str| step.replace('-', "_");
    let injecting = injecting.map(|(kind, step)| {
        let name = format!("inject_{}_{}", kind.name, word(step));
        trial(module_path!(), &name, move || cut_off(kind, step, End::Interrupted))
    });
    let recovering = recovering.map(|(kind, step)| {
        let name = format!("recover_{}_{}", kind.name, word(step));
        trial(module_path!(), &name, move || cut_off(kind, step, End::Recovered))
    });
    outlive.into_iter().chain(injecting).chain(recovering).collect()
}

const ID: &str = "of-a-kind";

/// What the victim sends and receives, and what a bystander sends.
struct Flows<'a> {
    hit: [Datagrams<'a>; 2],
    spared: Datagrams<'a>,
}

impl<'a> Flows<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let hit = both_ways(stage, "victim", &stage.victim)?.map(|flow| flow.sized(1_000));
        let flows = Self { hit, spared: stage.bystander_udp()? };
        flows.are_whole()?;
        Ok(flows)
    }

    fn are_hit(&self, kind: Kind) -> Result<()> {
        self.hit.iter().try_for_each(kind.bites)?;
        self.spared.all_arrive()
    }

    fn are_whole(&self) -> Result<()> {
        for flow in self.hit.iter().chain([&self.spared]) {
            let round = flow.round(20, 20)?;
            let late = round.late_us.iter().any(|late| *late >= LATENCY.as_micros() as i64);
            ensure!(
                round.failed.is_empty() && round.arrived.is_sorted() && round.arrived.len() == 20,
                "{}: {round:?}",
                flow.name()
            );
            ensure!(!late && round.spoilt == 0, "{}: {round:?}", flow.name());
        }
        Ok(())
    }
}

fn spec(kind: Kind, stage: &Stage) -> Spec {
    (kind.spec)().direction(Direction::Both).seed(1).on(&stage.target)
}

fn outlives(kind: Kind) -> Result<()> {
    let stage = Stage::new()?;
    let flows = Flows::new(&stage)?;
    let daemon = stage.daemon()?;
    needs(&daemon.client()?, kind.fault)?;
    daemon.client()?.inject_as(ID, spec(kind, &stage))?;
    flows.are_hit(kind)?;
    daemon.kill()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    active(&client.get(ID)?)?;
    flows.are_hit(kind)?;
    client.recover(ID)?;
    flows.are_whole()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Dies at a step of the injection, or of its recovery.
fn cut_off(kind: Kind, step: &'static str, wanted: End) -> Result<()> {
    let stage = Stage::new()?;
    let flows = Flows::new(&stage)?;
    let dying = stage.daemon_with(Settings { failpoint: Some(step), ..Settings::default() })?;
    let client = dying.client()?;
    needs(&client, kind.fault)?;
    let mut answer = client.inject_as(ID, spec(kind, &stage));
    if wanted == End::Recovered {
        answer?;
        flows.are_hit(kind)?;
        answer = client.recover(ID);
    }
    ensure!(answer.is_err(), "the daemon answered at `{step}`: {answer:?}");
    dying.wait_killed()?;
    flows.spared.all_arrive()?;
    let daemon = stage.daemon()?;
    over(&daemon.client()?, wanted)?;
    flows.are_whole()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn over(client: &Client, wanted: End) -> Result<()> {
    let found = client.get(ID)?;
    ensure!(found.state() == State::Ended && found.end() == wanted, "{found:?}");
    ensure!(client.list()?.is_empty(), "something is live");
    Ok(())
}
