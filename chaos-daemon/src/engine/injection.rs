//! One live injection inside the engine.

use chaos_common::{
    abi::RuleStats,
    injection::{End, Injection, State},
};

use super::record::Record;
use crate::{boot_clock::BootTime, effect::Effect};

/// Where a live injection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Reserved; its journal entry and effects are on their way.
    Applying,
    /// Its effects are applied.
    Active,
    /// An undo failed and is tried again at a moment.
    Stuck(End, BootTime),
}

/// An injection of which something may be on the node.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) record: Record,
    pub(super) effects: Vec<Effect>,
    pub(super) phase: Phase,
    pub(super) message: String,
    /// Position in the order of acceptance.
    pub(super) order: u64,
}

impl Live {
    /// When something has to be done about it.
    pub(super) fn due(&self) -> BootTime {
        match self.phase {
            Phase::Applying => BootTime::NEVER,
            Phase::Active => self.record.deadline,
            Phase::Stuck(_, retry) => retry,
        }
    }

    pub(super) fn view(&self, state: State, counters: RuleStats) -> Injection {
        let record = &self.record;
        Injection {
            id: record.id.clone(),
            spec: record.spec.clone(),
            cgroup: record.cgroup.clone(),
            cgroup_id: record.cgroup_id,
            state,
            message: self.message.clone(),
            seed: record.seed,
            created_at: record.created_at(),
            expires_at: record.deadline.to_wall(),
            ended_at: None,
            counters,
            requested_by: record.requested_by.clone(),
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Applying => State::Applying,
            Phase::Active => State::Active,
            Phase::Stuck(end, _) => State::Stuck(end),
        }
    }
}
