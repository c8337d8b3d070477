//! The other ends that a filter names: hosts and cgroups of the node. Here are their addresses.
//!
//! Reads and asks only. Asking takes as long as a name server takes, up to some seconds.

mod error;
mod host;
mod neighbour;

pub use error::PeerError;

use std::{collections::BTreeSet, net::IpAddr};

use chaos_common::fault::NetworkFilter;

use crate::target::{self, Cgroup, CgroupRoot};

/// For whom addresses are sought.
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
    /// The addresses of all whom a filter names, as the target sees them now.
    ///
    /// # Errors
    /// When there is somebody of whom none is found.
    pub fn addresses(self, filter: &NetworkFilter) -> Result<Vec<IpAddr>, PeerError> {
        let mut all = BTreeSet::new();
        if !filter.hosts.is_empty() {
            all.extend(host::addresses(self, &filter.hosts)?);
        }
        for peer in &filter.peers {
            all.extend(neighbour::addresses(self, peer)?);
        }
        Ok(all.into_iter().collect())
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
