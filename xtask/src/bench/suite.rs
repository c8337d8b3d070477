//! Groups of rows that share a setting. A row's name begins with its suite's.

mod call;
mod classic;
mod dns;
mod idle;
mod inject;
mod neighbour;
mod network;
mod program;
mod proxy;
mod rules;
mod size;
mod start;
mod target;

use anyhow::Result;

use crate::{
    compare::Samples,
    row::{Goal, Row},
    setting::{OPERATIONS, Subjects},
};

/// One group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// What others pay for a fault.
    Neighbour,
    /// What a target pays for a rule that does not match.
    Target,
    /// Many rules on the node.
    Rules,
    /// The programs themselves.
    Program,
    /// What tools without eBPF do.
    Classic,
    /// What a proxy in the way does.
    Proxy,
    /// From the call to the effect.
    Inject,
    /// A daemon with nothing to do.
    Idle,
    /// How long programs take to begin.
    Start,
    /// How big they are.
    Size,
    /// What faults of names cost who asks for others, and how soon they answer.
    Dns,
    /// How late packets are that are to be late.
    NetworkDelay,
    /// How many are lost of those that are to be lost.
    NetworkLoss,
    /// How much goes through a slow line.
    NetworkRate,
    /// How fast TCP is over a long line, and whether the line holds everything.
    NetworkLine,
    /// What a neighbour pays for many rules, and for many filters of `tc`.
    NetworkNeighbour,
    /// How soon a fault acts and ends, and what becomes of what it holds.
    NetworkEffect,
    /// What faults of calls cost, beside the empty program and `strace`.
    Call,
}

impl Suite {
    /// Those for this machine, in the order of the table.
    pub(crate) const HOST: [Self; 11] = [
        Self::Neighbour,
        Self::Target,
        Self::Rules,
        Self::Program,
        Self::Classic,
        Self::Proxy,
        Self::Inject,
        Self::Idle,
        Self::Start,
        Self::Size,
        Self::Dns,
    ];

    /// Those for a kernel that has netem, in the order of the table.
    const NETWORK: [Self; 6] = [
        Self::NetworkDelay,
        Self::NetworkLoss,
        Self::NetworkRate,
        Self::NetworkLine,
        Self::NetworkNeighbour,
        Self::NetworkEffect,
    ];

    /// All of them.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::HOST.into_iter().chain(Self::NETWORK).chain([Self::Call])
    }

    /// What its rows begin with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Neighbour => "neighbour",
            Self::Target => "target",
            Self::Rules => "rules",
            Self::Program => "program",
            Self::Classic => "classic",
            Self::Proxy => "proxy",
            Self::Inject => "inject",
            Self::Idle => "idle",
            Self::Start => "start",
            Self::Size => "size",
            Self::Dns => "dns",
            Self::NetworkDelay => "network delay",
            Self::NetworkLoss => "network loss",
            Self::NetworkRate => "network rate",
            Self::NetworkLine => "network line",
            Self::NetworkNeighbour => "network neighbour",
            Self::NetworkEffect => "network effect",
            Self::Call => "call",
        }
    }

    /// Measures. What takes long is left out where no row is wanted of it.
    pub(crate) fn run(self, subjects: &Subjects, wanted: &Wanted<'_>) -> Result<Vec<Row>> {
        match self {
            Self::Neighbour => neighbour::run(subjects),
            Self::Target => target::run(subjects),
            Self::Rules => rules::run(subjects),
            Self::Program => program::run(subjects),
            Self::Classic => classic::run(subjects),
            Self::Proxy => proxy::run(subjects),
            Self::Inject => inject::run(subjects),
            Self::Idle => idle::run(subjects),
            Self::Start => start::run(subjects),
            Self::Size => size::run(subjects),
            Self::Dns => dns::run(subjects),
            Self::NetworkDelay => network::delay::run(subjects),
            Self::NetworkLoss => network::loss::run(subjects),
            Self::NetworkRate => network::rate::run(subjects),
            Self::NetworkLine => network::line::run(subjects),
            Self::NetworkNeighbour => network::neighbour::run(subjects),
            Self::NetworkEffect => network::effect::run(subjects),
            Self::Call => call::run(subjects, wanted),
        }
    }
}

/// Which rows are wanted.
pub(crate) struct Wanted<'a>(pub(crate) &'a [String]);

impl Wanted<'_> {
    /// Whether a row is.
    pub(crate) fn has(&self, row: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|name| row.starts_with(name.as_str()))
    }

    /// Whether one is whose name begins so.
    fn may_have(&self, start: &str) -> bool {
        self.has(start) || self.0.iter().any(|name| name.starts_with(start))
    }
}

/// One condition held against another.
struct Against {
    of: usize,
    to: usize,
    /// What `to` is.
    baseline: &'static str,
    goal: Option<Goal>,
}

/// A row for each operation.
fn ratios<'a>(
    name: &'a str,
    samples: &'a Samples,
    against: Against,
) -> impl Iterator<Item = Row> + 'a {
    OPERATIONS.iter().enumerate().map(move |(at, operation)| {
        let baseline = format!("{}: {:.0} ns", against.baseline, samples.figure(against.to, at));
        let ratio = samples.ratio(against.of, against.to, at);
        let row = Row::ratio(format!("{name}: {operation}"), ratio, baseline);
        match against.goal {
            Some(goal) => row.goal(goal),
            None => row,
        }
    })
}
