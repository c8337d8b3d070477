//! The other ends that a filter names: hosts and cgroups of the node. Here are their addresses, and where those would
//! not tell them from the target, the cgroups themselves.
//!
//! Reads and asks only. Asking takes as long as a name server takes, up to some seconds.

mod error;
mod host;
mod neighbour;

pub use error::PeerError;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use chaos_common::fault::{Neighbour, NetworkFilter, Others};

use crate::target::{self, Cgroup, CgroupRoot};

/// For whom they are sought.
#[derive(Clone, Copy)]
pub struct Seeker<'a> {
    /// The tree of all cgroups.
    pub root: &'a CgroupRoot,
    /// The target.
    pub target: &'a Cgroup,
    /// While the target has no process, this one is as good: it will be the parent of the first.
    pub is_parent: bool,
}

impl Seeker<'_> {
    /// All whom a filter names, as the target sees them now.
    ///
    /// # Errors
    /// When there is somebody who is not found.
    pub fn others(self, filter: &NetworkFilter) -> Result<Others, PeerError> {
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        let mut cgroups: BTreeMap<u64, Neighbour> = BTreeMap::new();
        if !filter.hosts.is_empty() {
            addresses.extend(host::addresses(self, &filter.hosts)?);
        }
        for peer in &filter.peers {
            let found = neighbour::find(self, peer)?;
            addresses.extend(found.addresses);
            cgroups.extend(found.cgroups.into_iter().map(|cgroup| (cgroup.id, cgroup)));
        }
        let (addresses, cgroups) =
            (addresses.into_iter().collect(), cgroups.into_values().collect());
        Ok(Others { addresses, cgroups })
    }

    /// Whether a cgroup that was found is still there, and no other one under its name.
    #[must_use]
    pub fn has(self, neighbour: &Neighbour) -> bool {
        let there = self.root.look_up(&neighbour.path);
        matches!(there, Ok(Some(there)) if there.id == neighbour.id)
    }

    /// The processes that see what the target sees.
    fn processes(self) -> Result<Vec<u32>, PeerError> {
        let mut pids = target::pids_below(self.root, &self.target.path)?;
        if pids.is_empty() && self.is_parent {
            pids.push(std::process::id());
        }
        Ok(pids)
    }
}
