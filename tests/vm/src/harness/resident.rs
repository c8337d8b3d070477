//! Daemons that serve one test after another. A daemon takes seconds to start where the verifier is slow.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;

use super::{Daemon, Scratch, Tier, poll};

/// How soon a daemon that was stopped has left nothing.
const GONE: Duration = Duration::from_secs(5);

static IDLE: Mutex<Vec<(Tier, Resident)>> = Mutex::new(Vec::new());

/// A daemon with nothing to do, and its folder.
pub(super) struct Resident {
    // Killed before its folder goes.
    pub(super) daemon: Daemon,
    pub(super) scratch: Arc<Scratch>,
}

/// One for this thread's trials; a new one if none is idle.
pub(super) fn take() -> Result<Resident> {
    let wanted = Tier::here();
    let (found, others) = {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|(tier, _)| *tier == wanted);
        let found = at.map(|at| idle.swap_remove(at).1);
        // Tests come in groups: what those before had is not asked for again soon.
        let others: Vec<Resident> =
            idle.extract_if(.., |(tier, _)| *tier != wanted).map(|(_, one)| one).collect();
        (found, others)
    };
    others.into_iter().try_for_each(Resident::dismiss)?;
    match found {
        Some(resident) => Ok(resident),
        None => {
            let scratch = Arc::new(Scratch::new()?);
            Ok(Resident { daemon: Daemon::resident(&scratch)?, scratch })
        }
    }
}

/// Leaves it to the tests to come.
pub(super) fn give_back(resident: Resident) {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).push((Tier::here(), resident));
}

/// Stops all that are idle, and fails when anything is left of them.
pub(super) fn dismiss_all() -> Result<()> {
    let idle = std::mem::take(&mut *IDLE.lock().unwrap_or_else(PoisonError::into_inner));
    idle.into_iter().try_for_each(|(_, resident)| resident.dismiss())
}

impl Resident {
    fn dismiss(self) -> Result<()> {
        self.daemon.stop()?;
        poll::until_ok("nothing to be left of a daemon", GONE, || self.scratch.clean())
    }
}
