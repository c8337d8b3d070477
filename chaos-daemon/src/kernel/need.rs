//! What rules need in the network namespaces of their targets.

use std::collections::BTreeSet;

use super::{hop::Purpose, side::Side};

/// What a rule needs for its target, in every network namespace of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// What it sends passes our program.
    Out,
    /// What comes in for it passes our program.
    In,
    /// Its packets have a place to wait.
    Hold,
    /// Its packets have a way on which their checksums become wrong.
    Spoil,
}

/// What is needed in a namespace.
pub(super) type Needs = BTreeSet<Need>;

impl Need {
    pub(super) const ALL: [Self; 4] = [Self::Out, Self::In, Self::Hold, Self::Spoil];
    pub(super) const COUNT: usize = Self::ALL.len();
}

/// A hook there.
impl From<Side> for Need {
    fn from(side: Side) -> Self {
        match side {
            Side::Out => Self::Out,
            Side::In => Self::In,
        }
    }
}

/// A hop for that.
impl From<Purpose> for Need {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Wait => Self::Hold,
            Purpose::Spoil => Self::Spoil,
        }
    }
}
