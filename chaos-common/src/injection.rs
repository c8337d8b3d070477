//! What the daemon answers with: an injection and how it is doing.

use std::time::SystemTime;

use crate::{
    abi::RuleStats,
    spec::{InjectionId, Spec},
    target::CgroupPath,
};

/// Where an injection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Its effects are being applied.
    Applying,
    /// The fault happens.
    Active,
    /// Its effects are being undone.
    Recovering,
    /// Over and undone.
    Ended(End),
    /// Over, but an undo failed and is retried.
    Stuck(End),
}

impl State {
    /// Whether something of it may still be on the node.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Ended(_))
    }

    /// The word for people: `active`, `expired`, `stuck`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Active => "active",
            Self::Recovering => "recovering",
            Self::Ended(end) => end.word(),
            Self::Stuck(_) => "stuck",
        }
    }
}

/// Why an injection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum End {
    /// Somebody asked.
    Recovered,
    /// The deadline passed.
    Expired,
    /// The target's cgroup was removed.
    TargetGone,
    /// The daemon or the machine went down and the fault could not go on.
    Interrupted,
    /// It could not be applied.
    Failed,
}

impl End {
    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Expired => "expired",
            Self::TargetGone => "target-gone",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    /// What it means for people, where the word alone does not say why.
    #[must_use]
    pub const fn meaning(self) -> Option<&'static str> {
        match self {
            Self::TargetGone => Some("the target's cgroup was removed"),
            Self::Interrupted => Some(
                "the daemon was away longer than its lease, the machine went down, or the hooks were removed from outside",
            ),
            Self::Recovered | Self::Expired | Self::Failed => None,
        }
    }
}

/// An injection as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// Its name.
    pub id: InjectionId,
    /// What was asked for.
    pub spec: Spec,
    /// The cgroup behind the target.
    pub cgroup: CgroupPath,
    /// The kernel's id of that cgroup.
    pub cgroup_id: u64,
    /// Where it is in its life.
    pub state: State,
    /// An explanation for people, where there is one.
    pub message: String,
    /// The seed in use, asked for or drawn.
    pub seed: u64,
    /// When it was accepted.
    pub created_at: SystemTime,
    /// When it ends by itself.
    pub expires_at: SystemTime,
    /// When it ended.
    pub ended_at: Option<SystemTime>,
    /// What its rules saw.
    pub counters: RuleStats,
    /// How many connections were reset when it began, where it resets open ones and that is known.
    pub connections_reset: Option<u64>,
    /// Who asked.
    pub requested_by: String,
}

impl Injection {
    /// Why it is as it is: the daemon's message, or what its end means. Empty where neither says more
    /// than the state.
    #[must_use]
    pub fn because(&self) -> &str {
        match self.state {
            State::Ended(end) if self.message.is_empty() => end.meaning().unwrap_or_default(),
            State::Applying
            | State::Active
            | State::Recovering
            | State::Ended(_)
            | State::Stuck(_) => &self.message,
        }
    }
}
