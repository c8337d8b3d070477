//! The hops of a namespace: opened when somebody needs one, and removed once nobody does and nothing waits in it.

use std::{collections::BTreeMap, io};

use super::{
    super::{
        HeldPackets, KernelError,
        hop::{Hops, Purpose},
        object::Object,
    },
    Manner, Namespace, failed,
};

/// A hop of ours in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Packets may be sent into it.
    Open,
    /// Nothing is sent into it any more. Looked at so often, it had nothing that waits.
    Draining { empty: u32 },
}

/// How often a hop must be found empty: what just left may be on its last steps.
const SURELY_EMPTY: u32 = 2;

impl Namespace {
    /// Whether there is a hop for a purpose, in use or not.
    pub(in crate::kernel) fn has_hop(&self, purpose: Purpose) -> bool {
        self.hops.contains_key(&purpose)
    }

    /// Whether there is any.
    pub(in crate::kernel) fn has_hops(&self) -> bool {
        !self.hops.is_empty()
    }

    /// What waits in its own hop and what was lost there; nothing where that cannot be told.
    pub(in crate::kernel) fn held_packets(&self, manner: &Manner) -> HeldPackets {
        if !self.has_hop(Purpose::Wait) {
            return HeldPackets::default();
        }
        let packets = self.within(|| {
            let packets = manner.hops.packets_here();
            packets.map_err(|error| failed("look into our hop in", self.inode, &error))
        });
        packets.unwrap_or_default()
    }

    /// Whether a hop is in use.
    pub(in crate::kernel) fn has_open_hop(&self, purpose: Purpose) -> bool {
        matches!(self.hops.get(&purpose), Some(Hop::Open))
    }

    /// Whether a hop is not in use any more and yet to be removed.
    pub(in crate::kernel) fn is_draining(&self) -> bool {
        self.hops.values().any(|hop| matches!(hop, Hop::Draining { .. }))
    }

    /// Makes a hop, if there is none.
    pub(in crate::kernel) fn open_hop(
        &mut self,
        purpose: Purpose,
        manner: &Manner,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        if self.has_open_hop(purpose) {
            return Ok(());
        }
        self.within(|| {
            let opened = manner.hops.open(purpose, self.inode, object);
            opened.map_err(|reason| KernelError::Hook {
                what: "make a hop (devices through which packets make a detour) in",
                place: format!("network namespace {}", self.inode),
                reason,
            })
        })?;
        self.hops.insert(purpose, Hop::Open);
        Ok(())
    }

    /// Takes over a hop that an earlier process left. False if there is none, and one should be: those that end
    /// with their process are made anew.
    pub(in crate::kernel) fn adopt_hop(
        &mut self,
        purpose: Purpose,
        manner: &Manner,
    ) -> Result<bool, KernelError> {
        if self.has_open_hop(purpose) || !manner.hops.is_lasting(purpose) {
            return Ok(true);
        }
        let hops = &manner.hops;
        let is_open = self.within(|| {
            let is_open = hops.is_open(purpose, self.inode);
            let is_open = is_open.and_then(|is_open| Ok(is_open && hops.is_ours(purpose)?));
            is_open.map_err(|error| failed("look for our hop in", self.inode, &error))
        })?;
        if is_open {
            self.hops.insert(purpose, Hop::Open);
        }
        Ok(is_open)
    }

    /// Nothing is sent into a hop any more.
    pub(in crate::kernel) fn stop_hop(&mut self, purpose: Purpose) {
        if self.has_open_hop(purpose) {
            self.hops.insert(purpose, Hop::Draining { empty: 0 });
        }
    }

    /// A hop that an earlier process left, and into which nothing is sent any more.
    pub(in crate::kernel) fn let_drain(&mut self, purpose: Purpose) {
        self.hops.insert(purpose, Hop::Draining { empty: 0 });
    }

    /// Removes the hops into which nothing is sent any more, once nothing is in them; or at once, if it must be.
    pub(in crate::kernel) fn drain_hops(
        &mut self,
        manner: &Manner,
        at_once: bool,
    ) -> Result<(), KernelError> {
        if !self.is_draining() {
            return Ok(());
        }
        let hops = self.within(|| {
            drained(&self.hops, &manner.hops, self.inode, at_once)
                .map_err(|error| failed("remove our hop from", self.inode, &error))
        })?;
        self.hops = hops;
        Ok(())
    }
}

/// The hops that are left after those were removed that are empty. Runs in the namespace.
fn drained(
    there: &BTreeMap<Purpose, Hop>,
    hops: &Hops,
    inode: u64,
    at_once: bool,
) -> io::Result<BTreeMap<Purpose, Hop>> {
    let mut left = there.clone();
    for (purpose, hop) in there {
        let Hop::Draining { empty } = *hop else { continue };
        let empty = if hops.is_empty(*purpose, inode)? { empty + 1 } else { 0 };
        if at_once || empty >= SURELY_EMPTY {
            hops.close(*purpose, inode)?;
            left.remove(purpose);
        } else {
            left.insert(*purpose, Hop::Draining { empty });
        }
    }
    Ok(left)
}
