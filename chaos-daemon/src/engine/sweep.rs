//! Ends every fault of this node without a daemon: the kill switch behind the kill switch.
//!
//! It reads no journal and loads no program: pins and filters are found by their names and handles,
//! so that it works with whatever a daemon of any build left, and also beside one that hangs.

use chaos_common::injection::End;

use super::{
    audit::{Action, Audit},
    error::{StartError, StorageError},
    journal::Journal,
    start::Durable,
};
use crate::kernel;

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Journal files that were removed, by their names.
    pub journal: Vec<String>,
    /// A daemon is there but did not answer; it keeps its journal.
    pub daemon_hangs: bool,
}

/// Detaches every hook and forgets every rule of every daemon on this node.
///
/// # Errors
/// When something could not be removed; what could be, was.
pub fn sweep_node(place: &Durable, who: &str) -> Result<Swept, StartError> {
    let hooks = kernel::sweep_node(&place.bpffs);
    let journal = sweep_journal(place, who);
    // The hooks are what matters; but neither keeps the other.
    hooks?;
    journal
}

fn sweep_journal(place: &Durable, who: &str) -> Result<Swept, StartError> {
    if !place.state_dir.exists() {
        return Ok(Swept::default());
    }
    match Journal::open(&place.state_dir) {
        Err(StorageError::InUse { .. }) => Ok(Swept { journal: Vec::new(), daemon_hangs: true }),
        Err(error) => Err(error.into()),
        Ok(journal) => {
            let names = journal.remove_all()?;
            if let Ok(mut audit) = Audit::open(&place.state_dir) {
                audit.log(who, Action::RecoverAll);
                for id in names.iter().filter_map(|name| name.parse().ok()) {
                    audit.log(who, Action::End { id: &id, why: End::Recovered, fired: 0 });
                }
            }
            Ok(Swept { journal: names, daemon_hangs: false })
        }
    }
}
