//! Tests that are run once more by daemons that do without something, to see what serves instead.

use std::cell::Cell;

use anyhow::Result;
use chaos_common::proto::v1::fault_capability::Support;
use libtest_mimic::Trial;

use super::Client;

thread_local! {
    static HERE: Cell<Tier> = const { Cell::new(Tier::Best) };
}

/// By what this thread's daemons do what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// The best that the kernel has.
    Best,
    /// Packets are held by the daemon itself.
    Tap,
    /// System calls fail by `bpf_override_return`.
    Override,
    /// Calls that connect fail by programs on the cgroup.
    Address,
}

impl Tier {
    /// As this thread has it.
    pub(crate) fn here() -> Self {
        HERE.get()
    }

    /// Does something on this thread that way.
    pub(crate) fn during<T>(self, work: impl FnOnce() -> T) -> T {
        let before = HERE.replace(self);
        let done = work();
        HERE.set(before);
        done
    }

    /// Trials whose daemons do it that way, whatever the kernel could; they have its word in their names.
    pub(crate) fn trials(self, make: impl FnOnce() -> Vec<Trial>) -> Vec<Trial> {
        self.during(make)
    }

    /// What stands in the names of trials.
    pub(super) const fn word(self) -> Option<&'static str> {
        match self {
            Self::Best => None,
            Self::Tap => Some("tap"),
            Self::Override => Some("override"),
            Self::Address => Some("address"),
        }
    }

    /// What `CHAOS_WITHOUT` names.
    pub(super) const fn withheld(self) -> Option<&'static str> {
        match self {
            Self::Best => None,
            Self::Tap => Some("fq"),
            Self::Override => Some("fmod_ret"),
            Self::Address => Some("security"),
        }
    }
}

/// Trials whose daemons hold packets by themselves.
pub(crate) fn under_tap(make: impl FnOnce() -> Vec<Trial>) -> Vec<Trial> {
    Tier::Tap.trials(make)
}

/// Whether packets wait in the daemon, and end with it.
pub(crate) fn holds_in_memory(client: &Client) -> Result<bool> {
    let faults = client.capabilities()?.faults;
    let mut mechanisms = faults.iter().filter_map(|fault| match &fault.support {
        Some(Support::Mechanism(mechanism)) => Some(mechanism),
        Some(Support::UnsupportedReason(_)) | None => None,
    });
    Ok(mechanisms.any(|mechanism| mechanism.contains("TAP")))
}
