//! What decides whether a rule fires now, and what is counted when it does or does not.

use super::Dice;

/// The head of every rule, whatever its engine. User space writes it, programs only read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Gate {
    /// The rule is inert from this moment on.
    pub deadline_ns: u64,
    /// How many times the rule may fire; `u64::MAX` is without limit.
    pub budget: u64,
    /// Which of the matching events fire.
    pub dice: Dice,
}

/// What a rule remembers between events. Programs write it; user space only creates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleState {
    /// Matching events so far: the `n` of the next roll.
    pub events: u64,
    /// Firings asked of the budget so far; more than the budget once it is spent.
    pub claims: u64,
    /// The state that the dice are in.
    pub state: u64,
    /// No firing is reported before this moment.
    pub report_after_ns: u64,
    /// What the last draw was that another event may repeat.
    pub last_draw: u64,
    /// When what is shared by all events of the rule is free again, on the monotonic clock.
    pub free_at_ns: u64,
}

/// What happened to the matching events of one rule on one CPU.
/// `matched` is the sum of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RuleStats {
    /// Events that passed the rule's filters.
    pub matched: u64,
    /// Events on which the fault happened.
    pub fired: u64,
    /// Let through: the deadline had passed.
    pub past_deadline: u64,
    /// Let through: the daemon's lease had lapsed.
    pub past_lease: u64,
    /// Let through: the budget was spent.
    pub over_budget: u64,
    /// Let through: the dice said no.
    pub spared: u64,
}

impl core::ops::AddAssign for RuleStats {
    fn add_assign(&mut self, other: Self) {
        self.matched += other.matched;
        self.fired += other.fired;
        self.past_deadline += other.past_deadline;
        self.past_lease += other.past_lease;
        self.over_budget += other.over_budget;
        self.spared += other.spared;
    }
}
