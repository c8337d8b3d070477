//! What earlier processes left in the network namespaces of the node, and nobody claims.

use std::{
    collections::hash_map::Entry,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use super::{
    super::{
        EgressTier, Instance, KernelError, clsact, hook,
        hop::{self, Purpose},
        interfaces,
        namespace::{self, Namespace},
        side::Side,
    },
    Sites,
};
use crate::{netns, target};

impl Sites {
    /// Removes what an earlier process left and nobody claimed since.
    pub(in crate::kernel) fn sweep(&mut self) -> Result<(), KernelError> {
        for side in [Side::Out, Side::In] {
            hook::sweep(self.manner.pins.as_ref(), side.pin(), self.links())?;
        }
        self.let_drain();
        // Of the namespaces of others some may not be entered: no reason not to start.
        if let Err(error) = self.sweep_unnamed() {
            tracing::warn!(%error, "could not look everywhere for what is left behind");
        }
        self.forget_ways()
    }

    /// Hops of an earlier process in which packets still wait, and that nobody claimed, go when they are empty.
    fn let_drain(&mut self) {
        for (inode, handle) in target::all_network_namespaces() {
            let (hops, known) = (&self.manner.hops, self.namespaces.get(&inode));
            // Where it cannot be told, they are swept.
            let has_left = |purpose| {
                !known.is_some_and(|known| known.has_hop(purpose))
                    && hops.has_left(purpose, inode).unwrap_or(false)
            };
            let left = || Purpose::ALL.into_iter().filter(|purpose| has_left(*purpose)).collect();
            let left: Vec<Purpose> = netns::within(handle.as_fd(), left).unwrap_or_default();
            for purpose in left {
                if let Ok(namespace) = self.known(inode, &handle) {
                    namespace.let_drain(purpose);
                    self.drain_soon();
                }
            }
        }
    }

    fn known(&mut self, inode: u64, handle: &OwnedFd) -> Result<&mut Namespace, KernelError> {
        match self.namespaces.entry(inode) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(place) => {
                let handle = handle.try_clone();
                let handle = handle.map_err(|error| namespace::failed("keep", inode, &error))?;
                Ok(place.insert(Namespace::open(inode, handle)?))
            }
        }
    }

    /// Filters and hops have no pins: look into every namespace of the node.
    fn sweep_unnamed(&self) -> Result<(), KernelError> {
        let (own, tier) = (self.manner.instance, self.manner.tier);
        each_namespace(|inode| {
            let namespace = self.namespaces.get(&inode);
            if tier == Some(EgressTier::Clsact) {
                for index in interfaces::list()?.into_keys() {
                    clsact::sweep(index, |owner, side| {
                        let is_kept = namespace.is_some_and(|there| there.has_hook(index, side));
                        owner.is_gone() || (owner == own && !is_kept)
                    })?;
                }
            }
            let has_hop = |purpose| namespace.is_some_and(|there| there.has_hop(purpose));
            hop::sweep(|owner, purpose| owner.is_gone() || (owner == own && !has_hop(purpose)))
        })
    }
}

/// Removes the filters and hops of every daemon, and of runs whose process is gone.
pub(in crate::kernel) fn sweep_node() -> Result<(), KernelError> {
    let is_doomed = |owner: Instance| owner.is_daemon() || owner.is_gone();
    each_namespace(|_| {
        let indexes = interfaces::list()?.into_keys();
        let swept = indexes.map(|index| clsact::sweep(index, |owner, _| is_doomed(owner)));
        swept.fold(Ok(()), Result::and).and(hop::sweep(|owner, _| is_doomed(owner)))
    })
}

/// Does something in every network namespace of the node. One that fails does not keep the others.
fn each_namespace(work: impl Fn(u64) -> io::Result<()> + Sync) -> Result<(), KernelError> {
    let mut result = Ok(());
    for (inode, handle) in target::all_network_namespaces() {
        let done = netns::within(handle.as_fd(), || work(inode));
        if let Err(error) | Ok(Err(error)) = done {
            let failed = namespace::failed("look for what is left behind in", inode, &error);
            result = result.and(Err(failed));
        }
    }
    result
}
