//! One live injection inside the engine.

use std::time::{Duration, SystemTime};

use chaos_common::{
    abi::RuleStats,
    injection::{End, Injection, State},
};

use super::record::Record;
use crate::{boot_clock::BootTime, effect::Effect};

/// How an injection ends, with a sentence where the word alone leaves the cause open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) why: End,
    pub(super) reason: &'static str,
}

impl Ending {
    pub(super) const fn interrupted(reason: &'static str) -> Self {
        Self { why: End::Interrupted, reason }
    }
}

impl From<End> for Ending {
    fn from(why: End) -> Self {
        Self { why, reason: "" }
    }
}

/// Where a live injection is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reserved; its journal entry and effects are on their way.
    Applying,
    /// Its effects are applied.
    Active,
    /// Active, and its journal entry is being replaced by one with another deadline or other addresses.
    Renewing,
    /// An undo failed and is tried again.
    Stuck(Stuck),
}

/// An undo that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stuck {
    /// How it will have ended.
    pub(super) ending: Ending,
    pub(super) retry: BootTime,
    /// What failed.
    pub(super) message: String,
    /// What was counted before.
    pub(super) counters: RuleStats,
}

/// An injection of which something may be on the node.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) record: Record,
    pub(super) effects: Vec<Effect>,
    pub(super) phase: Phase,
    /// Position in the order of acceptance.
    pub(super) order: u64,
    /// How many connections were reset when it began, if that was its effect and this process did it.
    pub(super) connections_reset: Option<u64>,
    /// The deadline by the wall clock as it was first told.
    expires_at: SystemTime,
}

impl Live {
    pub(super) fn new(record: Record, effects: Vec<Effect>, phase: Phase, order: u64) -> Self {
        let expires_at = record.deadline.to_wall();
        Self { record, effects, phase, order, connections_reset: None, expires_at }
    }

    /// The same with another deadline, or other addresses of those whom its filter names.
    pub(super) fn renewed(&self, record: Record, effects: Vec<Effect>) -> Self {
        let connections_reset = self.connections_reset;
        Self { connections_reset, ..Self::new(record, effects, Phase::Active, self.order) }
    }

    /// When something has to be done about it.
    pub(super) fn due(&self) -> BootTime {
        match &self.phase {
            // Whoever is busy with it looks at the deadline afterwards; the kernel keeps to it anyway.
            Phase::Applying | Phase::Renewing => BootTime::NEVER,
            Phase::Active => self.record.deadline,
            Phase::Stuck(stuck) => stuck.retry,
        }
    }

    /// Whether nobody is busy with it outside of the lock.
    pub(super) fn is_settled(&self) -> bool {
        !matches!(self.phase, Phase::Applying | Phase::Renewing)
    }

    pub(super) fn view(&self, counters: RuleStats) -> Injection {
        let record = &self.record;
        let (state, message) = match &self.phase {
            Phase::Applying => (State::Applying, ""),
            Phase::Active | Phase::Renewing => {
                let mut left_out = self.effects.iter().map(Effect::left_out);
                (State::Active, left_out.find(|text| !text.is_empty()).unwrap_or_default())
            }
            Phase::Stuck(stuck) => (State::Stuck(stuck.ending.why), stuck.message.as_str()),
        };
        Injection {
            id: record.id.clone(),
            spec: record.spec.clone(),
            cgroup: record.cgroup.clone(),
            cgroup_id: record.cgroup_id,
            state,
            message: message.to_owned(),
            seed: record.seed,
            created_at: record.created_at(),
            expires_at: self.expires_at(),
            ended_at: None,
            counters,
            connections_reset: self.connections_reset,
            requested_by: record.requested_by.clone(),
        }
    }

    /// Two readings of two clocks differ by microseconds, which is no news; a wall clock that was set is.
    fn expires_at(&self) -> SystemTime {
        const NO_NEWS: Duration = Duration::from_secs(1);
        let now = self.record.deadline.to_wall();
        let moved =
            now.duration_since(self.expires_at).unwrap_or_else(|earlier| earlier.duration());
        if moved < NO_NEWS { self.expires_at } else { now }
    }
}
