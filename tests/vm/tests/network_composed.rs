//! Several faults on one target: together they do what each does, and each is recovered alone, in whatever order.

use std::{collections::BTreeMap, fmt, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{self, Checksum, network_loss::Model};

use crate::harness::{
    Client, Datagrams, Loss, Network, Probe as _, Stage, balanced, delay, needs, tests,
};

tests![each_of_five_is_recovered_from_all_that_can_be_beside_it];

/// Datagrams of a round.
const SENT: u32 = 20;
/// The fifth of each so many is lost.
const EVERY: u64 = 5;
const LATENCY: Duration = Duration::from_millis(120);
/// Bytes of a datagram, and how long the line takes for one on an Ethernet.
const SIZE: usize = 958;
const GAP: Duration = Duration::from_millis(8);
const BITS_PER_SECOND: u64 = (SIZE as u64 + 42) * 8 * 1_000 / GAP.as_millis() as u64;

/// A fault that can be told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Loss,
    Duplicate,
    Corrupt,
    Rate,
    Delay,
}

const PARTS: [Part; 5] = [Part::Loss, Part::Duplicate, Part::Corrupt, Part::Rate, Part::Delay];

impl Part {
    fn network(self) -> Network {
        match self {
            Self::Loss => Loss::model(Model::Every(EVERY)),
            Self::Duplicate => v1::NetworkDuplicate { percent: 100.0, ..Default::default() }.into(),
            Self::Corrupt => v1::NetworkCorrupt {
                percent: 100.0,
                checksum: Checksum::Fixed.into(),
                ..Default::default()
            }
            .into(),
            Self::Rate => v1::NetworkRate {
                bits_per_second: BITS_PER_SECOND,
                burst_bytes: Some(1_600),
                ..Default::default()
            }
            .into(),
            Self::Delay => delay(LATENCY).into(),
        }
    }
}

/// The parts that are live, by their injections.
#[derive(Default)]
struct Live(BTreeMap<Part, String>);

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "with {:?}", self.0.keys())
    }
}

impl Live {
    fn has(&self, part: Part) -> bool {
        self.0.contains_key(&part)
    }

    fn begin(&mut self, part: Part, client: &Client, stage: &Stage) -> Result<()> {
        let injection = client.inject(part.network().seed(1).on(&stage.target))?;
        self.0.insert(part, injection.id);
        Ok(())
    }

    fn end(&mut self, part: Part, client: &Client) -> Result<()> {
        let id = self.0.remove(&part).context("it is not live")?;
        let counters = balanced(&client.recover(&id)?)?;
        ensure!(counters.fired > 0, "{part:?} never fired: {counters:?}");
        Ok(())
    }

    /// Fails unless a flow shows exactly what is live.
    fn show(&self, flow: &Datagrams<'_>) -> Result<()> {
        let lost = if self.has(Part::Loss) { SENT / EVERY as u32 } else { 0 };
        let copies = if self.has(Part::Duplicate) { 2 } else { 1 };
        let come = (SENT - lost) * copies;
        let round = flow.round(SENT, come)?;
        ensure!(round.failed.is_empty(), "{self}: {round:?}");
        ensure!(round.arrived.len() as u32 + round.spoilt == come, "{self}, {come}: {round:?}");
        if self.has(Part::Corrupt) {
            // A number that is no longer as it was sent tells nothing more.
            ensure!(round.spoilt == come, "{self}: {round:?}");
            return Ok(());
        }
        ensure!(round.spoilt == 0 && round.arrived.is_sorted(), "{self}: {round:?}");
        let late = |us: &i64| Duration::from_micros(u64::try_from(*us).unwrap_or(0));
        let first = round.late_us.first().map(late).context("nothing came")?;
        let last = round.late_us.last().map(late).context("nothing came")?;
        let latency = if self.has(Part::Delay) { LATENCY } else { Duration::ZERO };
        ensure!(
            first >= latency && first < latency + LATENCY / 2,
            "{self}: the first came after {first:?}"
        );
        // Every packet stands in the line once, copies do not; those of the burst go at once.
        let queue = GAP * (SENT - lost).saturating_sub(3);
        let spread = last.saturating_sub(first);
        let is_right = if self.has(Part::Rate) { spread > queue / 2 } else { spread < queue / 2 };
        ensure!(is_right, "{self}: the last came {spread:?} after the first");
        Ok(())
    }
}

/// What a recovery does depends on what is live, not on how that came about: so every fault is recovered once from every
/// set of others, which is every step of every order.
fn each_of_five_is_recovered_from_all_that_can_be_beside_it() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for kind in ["network duplicate", "network corrupt", "network rate", "network delay"] {
        needs(&client, kind)?;
    }
    let flow = stage.victim_udp()?.sized(SIZE);
    let bystander = stage.bystander_udp()?;
    let mut live = Live::default();
    for set in 1_u32..1 << PARTS.len() {
        // From one of these sets to the next, one fault comes or goes.
        let set = set ^ (set >> 1);
        let is_in = |part: Part| set & (1 << part as u32) != 0;
        for part in PARTS {
            match (live.has(part), is_in(part)) {
                (false, true) => live.begin(part, &client, &stage)?,
                (true, false) => live.end(part, &client)?,
                (true, true) | (false, false) => {}
            }
        }
        live.show(&flow)?;
        for part in PARTS.into_iter().filter(|part| is_in(*part)) {
            live.end(part, &client)?;
            live.show(&flow)?;
            live.begin(part, &client, &stage)?;
            live.show(&flow)?;
        }
    }
    bystander.all_arrive()?;
    client.recover_all()?;
    Live::default().show(&flow)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
