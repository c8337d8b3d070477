//! Ends every fault of this node without a daemon: the kill switch behind the kill switch.
//!
//! It reads no journal and loads no program: pins and filters are found by their names and handles,
//! so that it works with whatever a daemon of any build left, and also beside one that hangs.

use chaos_common::{
    fault::{Fault, Occupation},
    injection::End,
};

use super::{
    audit::{Action, Audit},
    error::StorageError,
    journal::{self, Journal},
    record::Record,
    start::Durable,
};
use crate::{boot_clock, kernel};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Pins that were removed: links, which detached with them, and tables.
    pub pins: usize,
    /// Journal files that were removed, by their names.
    pub journal: Vec<String>,
    /// A daemon is there but did not answer; it keeps its journal.
    pub daemon_hangs: bool,
    /// What was not done, and why, each a sentence.
    pub failures: Vec<String>,
}

/// Detaches every hook and forgets every rule of every daemon on this node.
#[must_use]
pub fn sweep_node(place: &Durable, who: &str) -> Swept {
    let (pins, failures) = kernel::sweep_node(&place.bpffs);
    let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let mut swept = Swept { pins, failures, ..Swept::default() };
    if let Err(error) = sweep_journal(place, who, &mut swept) {
        swept.failures.push(format!("the journal stays: {error}"));
    }
    swept
}

fn sweep_journal(place: &Durable, who: &str, swept: &mut Swept) -> Result<(), StorageError> {
    if !place.state_dir.exists() {
        return Ok(());
    }
    let journal = match Journal::open(&place.state_dir) {
        Err(StorageError::InUse { .. }) => {
            swept.daemon_hangs = true;
            // Nobody but the process that has them can let go of ports.
            let holders = journal::peek(&place.state_dir).filter(holds_ports);
            swept.failures.extend(holders.map(|record| {
                let id = record.id;
                format!("the ports of {id} are taken until the daemon that hangs ends; kill it (SIGKILL)")
            }));
            return Ok(());
        }
        journal => journal?,
    };
    // What nothing was found of may be somewhere else: then the next daemon has to know of it.
    let boot_id = boot_clock::boot_id().unwrap_or_default();
    let unfound = if swept.pins == 0 { journal.count_of_boot(&boot_id)? } else { 0 };
    if unfound > 0 {
        swept.failures.push(format!(
            "the journal in {} stays: injections in it: {unfound}, pins in {}: none; name the daemon's bpffs with \
             --bpffs, or start the daemon to tidy up",
            place.state_dir.display(),
            place.bpffs.display(),
        ));
        return Ok(());
    }
    swept.journal = journal.remove_all()?;
    if let Ok(mut audit) = Audit::open(&place.state_dir) {
        audit.log(who, Action::RecoverAll);
        for id in swept.journal.iter().filter_map(|name| name.parse().ok()) {
            audit.log(who, Action::End { id: &id, why: End::Recovered, fired: 0 });
        }
    }
    Ok(())
}

fn holds_ports(record: &Record) -> bool {
    let Fault::NetworkOccupy(occupy) = &record.spec.fault else { return false };
    occupy.how == Occupation::Hold
}
