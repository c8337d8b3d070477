//! Tests that are run once more by daemons that do without something, to see what serves instead.

use std::cell::Cell;

use anyhow::Result;
use chaos_common::proto::v1::fault_capability::Support;
use libtest_mimic::Trial;

use super::Client;

thread_local! {
    static WITHOUT_FQ: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread's trials and daemons do without `fq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fq {
    Used,
    Withheld,
}

impl Fq {
    /// As this thread has it.
    pub(crate) fn here() -> Self {
        if WITHOUT_FQ.get() { Self::Withheld } else { Self::Used }
    }

    /// Does something on this thread that way.
    pub(crate) fn during<T>(self, work: impl FnOnce() -> T) -> T {
        let before = WITHOUT_FQ.replace(self == Self::Withheld);
        let done = work();
        WITHOUT_FQ.set(before);
        done
    }
}

/// Trials whose daemons hold packets by themselves, whatever the kernel could; they have `tap` in their names.
pub(crate) fn under_tap(make: impl FnOnce() -> Vec<Trial>) -> Vec<Trial> {
    Fq::Withheld.during(make)
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
