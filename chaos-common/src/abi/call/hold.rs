//! Calls that wait, and how long.

use super::super::{Dice, Hold, Lane};

/// How long a call is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallHold {
    /// The mean.
    pub latency_ns: u64,
    /// The most by which it differs from that.
    pub jitter_ns: u64,
}

impl CallHold {
    /// How long event `n` of a rule is held.
    #[inline(always)]
    #[must_use]
    pub fn time(&self, dice: &Dice, n: u64) -> u64 {
        let Self { latency_ns, jitter_ns } = *self;
        let even = Hold { latency_ns, jitter_ns, ..Hold::default() };
        even.time(dice.draw(n, Lane::Hold) as u32, None)
    }
}

/// A call that is to wait: between the program that says so and the process that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct HeldCall {
    /// The rule.
    pub rule: u32,
    /// The thread that calls.
    pub thread: u32,
}

/// How long it is to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Wait {
    /// Until then.
    pub until_ns: u64,
    /// When its thread began: the number of one that has ended is given to another.
    pub began_ns: u64,
}
