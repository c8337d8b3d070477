//! How a delay strays: what to ask for, and what to expect.

use chaos_common::proto::v1::Distribution;

use crate::statistics::{normal, pareto, uniform};

/// Those that netem knows too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Uniform,
    Normal,
    Pareto,
}

impl Shape {
    pub(super) const ALL: [Self; 3] = [Self::Uniform, Self::Normal, Self::Pareto];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
        }
    }

    /// The end of netem's arguments; without one it is uniform.
    pub(super) fn netem(self) -> &'static str {
        match self {
            Self::Uniform => "",
            Self::Normal => " distribution normal",
            Self::Pareto => " distribution pareto",
        }
    }

    pub(super) fn proto(self) -> Distribution {
        match self {
            Self::Uniform => Distribution::Uniform,
            Self::Normal => Distribution::Normal,
            Self::Pareto => Distribution::Pareto,
        }
    }

    /// Chance of a packet that strays up to so many jitters.
    pub(super) fn chance(self, strays: f64) -> f64 {
        match self {
            Self::Uniform => uniform(strays),
            Self::Normal => normal(strays),
            Self::Pareto => pareto(strays),
        }
    }

    /// How many jitters this share of the packets strays at most.
    pub(super) fn quantile(self, share: f64) -> f64 {
        let (mut low, mut high) = (-10.0, 100.0);
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            *(if self.chance(middle) < share { &mut low } else { &mut high }) = middle;
        }
        high
    }
}
