//! Incoming faults on a cgroup and on one inside it: the kernel would run a program for each, but a packet is
//! judged once, whichever came first, whoever goes first, and across a crash.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::{
    fault::LossModel,
    proto::v1::{Direction, Spec},
    value::{Percent, Share},
};

use crate::harness::{
    Agent, Client, Datagrams, Family, Loss, Place, Probe as _, Settings, Stage, balanced, net,
    tests,
};

tests![
    the_outer_comes_first_and_goes_first,
    the_outer_comes_first_and_goes_last,
    the_inner_comes_first_and_goes_first,
    the_inner_comes_first_and_goes_last,
];

const COUNT: u32 = 100;
const PERCENT: f64 = 30.0;

/// Of the two, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Outer,
    Inner,
}

impl Which {
    fn other(self) -> Self {
        match self {
            Self::Outer => Self::Inner,
            Self::Inner => Self::Outer,
        }
    }

    fn id(self) -> &'static str {
        match self {
            Self::Outer => "outer",
            Self::Inner => "inner",
        }
    }
}

/// A fault as it should be: its dice, and what its counters should say.
struct Expected {
    which: Which,
    dice: Box<dyn Iterator<Item = bool>>,
    is_live: bool,
    matched: u64,
    fired: u64,
}

impl Expected {
    fn new(which: Which) -> Result<Self> {
        let model = LossModel::Share(Share::new(Percent::try_from(PERCENT)?, None)?);
        let dice = Box::new(model.dice(which as u64).sequence());
        Ok(Self { which, dice, is_live: false, matched: 0, fired: 0 })
    }

    /// Whether it loses the next packet that it is asked about.
    fn loses(&mut self) -> bool {
        if !self.is_live {
            return false;
        }
        let is_lost = self.dice.next() == Some(true);
        self.matched += 1;
        self.fired += u64::from(is_lost);
        is_lost
    }
}

/// Both faults, and a flow to a process in the inner cgroup.
struct Pair<'a> {
    faults: [Expected; 2],
    flow: Datagrams<'a>,
}

impl Pair<'_> {
    /// Sends datagrams, of which exactly the right ones must arrive.
    fn round(&mut self) -> Result<()> {
        let [outer, inner] = &mut self.faults;
        let lost: Vec<bool> = (0..COUNT).map(|_| outer.loses() || inner.loses()).collect();
        let survivors = lost.iter().filter(|lost| !**lost).count();
        let round = self.flow.round(COUNT, survivors as u32)?;
        ensure!(round.lost() == lost, "{} arrived, not {survivors}", round.arrived.len());
        Ok(())
    }

    /// Holds the counters against what should have been asked.
    fn count(&self, client: &Client) -> Result<()> {
        for fault in self.faults.iter().filter(|fault| fault.matched > 0) {
            let counters = balanced(&client.get(fault.which.id())?)?;
            ensure!(
                counters.matched == fault.matched && counters.fired == fault.fired,
                "{:?} was asked {} times and lost {}, but {counters:?}",
                fault.which,
                fault.matched,
                fault.fired
            );
        }
        Ok(())
    }

    fn set(&mut self, which: Which, is_live: bool) {
        self.faults[which as usize].is_live = is_live;
    }
}

fn nested(first: Which, first_to_go: Which) -> Result<()> {
    let stage = Stage::new()?;
    let settings = || Settings { lease: Some(Duration::from_secs(20)), ..Settings::default() };
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    let inner = stage.target.child("inner")?;
    let process = Agent::start(Place::default().cgroup(&inner)?.netns(&stage.net.near)?)?;
    let ends = ((&stage.far, net::far(Family::V4)), (&process, net::near(Family::V4)));
    let flow = stage.udp("inner, in", ends.0, ends.1)?;
    let mut pair =
        Pair { faults: [Expected::new(Which::Outer)?, Expected::new(Which::Inner)?], flow };
    let spec = |which| -> Spec {
        let loss = Loss::percent(PERCENT).seed(which as u64).direction(Direction::In);
        match which {
            Which::Outer => loss.on(&stage.target),
            Which::Inner => loss.on(&inner),
        }
    };
    for which in [first, first.other()] {
        client.inject_as(which.id(), spec(which))?;
        pair.set(which, true);
        pair.round().with_context(|| format!("with {which:?}"))?;
        pair.count(&client)?;
    }
    daemon.kill()?;
    pair.round().context("with the daemon dead")?;
    let daemon = stage.daemon_with(settings())?;
    let client = daemon.client()?;
    pair.round().context("after the adoption")?;
    pair.count(&client)?;
    for which in [first_to_go, first_to_go.other()] {
        client.recover(which.id())?;
        pair.set(which, false);
        pair.round().with_context(|| format!("without {which:?}"))?;
        pair.count(&client)?;
    }
    drop(pair);
    drop(process);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn the_outer_comes_first_and_goes_first() -> Result<()> {
    nested(Which::Outer, Which::Outer)
}

fn the_outer_comes_first_and_goes_last() -> Result<()> {
    nested(Which::Outer, Which::Inner)
}

fn the_inner_comes_first_and_goes_first() -> Result<()> {
    nested(Which::Inner, Which::Inner)
}

fn the_inner_comes_first_and_goes_last() -> Result<()> {
    nested(Which::Inner, Which::Outer)
}
