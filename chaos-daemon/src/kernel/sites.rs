//! The network namespaces that targets' processes use, and what of ours is in each: hooks on every interface, and
//! a hop where packets wait.
//!
//! A *claim* says that a rule needs something there for a target. Namespaces and interfaces follow from the
//! claims; [`Sites::refresh`] brings what is there in line with them, and is cheap enough to be called at every
//! change and on a slow clock. An interface that comes later is attached when its namespace's watch says so; a
//! process that changes its namespace unseen, at the next tick.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Duration,
};

use aya::maps::{HashMap as Table, MapData};
use chaos_common::abi::{LoopbackHold, Way};

use super::{
    EgressTier, Instance, KernelError, Pins, RuleId, Support,
    claims::{Claims, Left},
    clsact,
    holder::HeldPackets,
    hook::{self, Hook},
    hop::{self, Hops, Purpose},
    interfaces,
    namespace::{self, Manner, Namespace, Needs, Side},
    object::Object,
    tables,
};
use crate::{
    boot_clock::BootTime,
    netns,
    target::{self, Cgroup, CgroupRoot},
};

/// How often to look whether a hop is empty that nobody needs.
const DRAIN_EVERY: Duration = Duration::from_millis(50);

/// What a rule needs for its target, in every network namespace of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// What it sends passes our program.
    Out,
    /// What comes in for it passes our program.
    In,
    /// Its packets have a place to wait.
    Hold,
    /// Its packets have a way on which their checksums become wrong.
    Spoil,
}

impl Need {
    const COUNT: usize = 4;
}

pub(super) struct Sites {
    root: CgroupRoot,
    manner: Manner,
    /// By what is needed.
    claims: [Claims; Need::COUNT],
    /// The namespaces in which the processes of each target were last seen.
    located: HashMap<u64, BTreeSet<u64>>,
    /// By inode.
    namespaces: HashMap<u64, Namespace>,
    /// Namespaces in which something may be that nobody needs.
    unsettled: BTreeSet<u64>,
    /// The namespaces whose loopback holds packets, by inode.
    loopbacks: Table<MapData, u32, u32>,
    /// Where packets in hops are to go.
    ways: Table<MapData, u32, Way>,
    /// When to look whether hops are empty.
    drain_at: Option<BootTime>,
}

impl Sites {
    pub(super) fn new(
        root: CgroupRoot,
        instance: Instance,
        pins: Option<Pins>,
        support: &Support,
        object: &mut Object,
    ) -> Result<Self, KernelError> {
        Ok(Self {
            root,
            manner: Manner {
                tier: support.egress_tier(),
                instance,
                pins,
                hops: Hops::new(instance, support.hold_tier()),
            },
            claims: Default::default(),
            located: HashMap::new(),
            namespaces: HashMap::new(),
            unsettled: BTreeSet::new(),
            loopbacks: tables::typed(object.take_map("LOOPBACKS")?)?,
            ways: tables::typed(object.take_map("WAYS")?)?,
            drain_at: None,
        })
    }

    /// Gives a rule what it needs, whether or not its target had it before.
    pub(super) fn claim(
        &mut self,
        need: Need,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        self.claims_of(need).add(rule, target);
        self.locate(target)?;
        // Only where this target is: what is wrong elsewhere is no reason to refuse it.
        self.provide(object, |namespace| namespace.users.contains(&target.id))
    }

    /// Gives a rule what it needs by what an earlier process left, and where interfaces came since, by new hooks.
    /// False if nothing is left.
    pub(super) fn adopt(
        &mut self,
        need: Need,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<bool, KernelError> {
        self.claims_of(need).add(rule, target);
        self.locate(target)?;
        let is_left = match need {
            Need::Out => self.has_left_hooks(target, Side::Out)?,
            Need::In => self.has_left_hooks(target, Side::In)?,
            Need::Hold => self.has_left_hops(target, Purpose::Wait)?,
            Need::Spoil => self.has_left_hops(target, Purpose::Spoil)?,
        };
        if is_left {
            self.provide(object, |namespace| namespace.users.contains(&target.id))?;
        }
        Ok(is_left)
    }

    /// A rule no longer needs it for its target.
    pub(super) fn release(
        &mut self,
        need: Need,
        rule: RuleId,
        target: &Cgroup,
    ) -> Result<(), KernelError> {
        if self.claims_of(need).remove(rule, target) == Left::Some {
            return Ok(());
        }
        self.unsettled.extend(self.located.get(&target.id).into_iter().flatten());
        if !self.claims.iter().any(|claims| claims.has(target)) {
            for inode in self.located.remove(&target.id).unwrap_or_default() {
                if let Some(namespace) = self.namespaces.get_mut(&inode) {
                    namespace.users.remove(&target.id);
                }
            }
        }
        // Also those of earlier tries, whosoever they were: this one is not over before they are settled.
        self.settle()
    }

    /// Finds the targets' namespaces again, then attaches and detaches as needed.
    pub(super) fn refresh(&mut self, object: &mut Object) -> Result<(), KernelError> {
        let targets: HashMap<u64, Cgroup> = self
            .claims
            .iter()
            .flat_map(Claims::targets)
            .map(|target| (target.id, target.clone()))
            .collect();
        let mut result = Ok(());
        for target in targets.values() {
            result = result.and(self.locate(target));
        }
        result = result.and(self.provide(object, |_| true));
        self.unsettled.extend(self.namespaces.keys());
        result.and(self.settle())
    }

    /// Attaches to interfaces that came, in the namespaces that are known.
    pub(super) fn refresh_interfaces(&mut self, object: &mut Object) -> Result<(), KernelError> {
        self.namespaces.values_mut().for_each(Namespace::listen);
        self.provide(object, |_| true)
    }

    /// Looks whether everything is where it was put.
    pub(super) fn inspect(&mut self) -> Result<(), KernelError> {
        let namespaces = self.namespaces.values_mut();
        namespaces.map(|namespace| namespace.inspect(&self.manner)).fold(Ok(()), Result::and)
    }

    /// Whether every pin is there.
    pub(super) fn has_pins(&self) -> bool {
        self.links().all(Hook::has_pin)
    }

    /// Whether a target was found covered when [`Sites::inspect`] last looked.
    pub(super) fn covers(&self, target: &Cgroup) -> bool {
        let inodes = self.located.get(&target.id).into_iter().flatten();
        let mut namespaces = inodes.filter_map(|inode| self.namespaces.get(inode));
        !namespaces.any(Namespace::is_torn)
    }

    pub(super) fn has_claims(&self) -> bool {
        !self.claims.iter().all(Claims::is_empty)
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.namespaces.values().map(Namespace::watch)
    }

    /// What waits in this process.
    pub(super) fn held_packets(&self) -> HeldPackets {
        self.manner.hops.packets()
    }

    /// When to look whether hops can be removed.
    pub(super) fn drain_due(&self) -> BootTime {
        self.drain_at.unwrap_or(BootTime::NEVER)
    }

    /// Removes the hops that nobody needs and that are empty, or all that nobody needs. Whether any is left.
    pub(super) fn drain(&mut self, at_once: bool) -> Result<bool, KernelError> {
        let namespaces = self.namespaces.values_mut();
        let drained = namespaces.map(|namespace| namespace.drain_hops(&self.manner, at_once));
        let result = drained.fold(Ok(()), Result::and);
        self.namespaces
            .retain(|inode, namespace| !namespace.is_idle() || self.unsettled.contains(inode));
        let is_left = self.namespaces.values().any(Namespace::is_draining);
        self.drain_at = is_left.then(|| BootTime::now().after(DRAIN_EVERY));
        result.and(self.forget_ways()).map(|()| is_left)
    }

    /// Removes what an earlier process left and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        for side in [Side::Out, Side::In] {
            hook::sweep(self.manner.pins.as_ref(), side.pin(), self.links())?;
        }
        self.let_drain();
        // Of the namespaces of others some may not be entered: no reason not to start.
        if let Err(error) = self.sweep_unnamed() {
            tracing::warn!(%error, "could not look everywhere for what is left behind");
        }
        let kept = |inode: &u32| {
            let there = self.namespaces.get(&u64::from(*inode));
            there.is_some_and(|there| there.loopback_hold().is_some())
        };
        let strangers: Vec<u32> =
            self.loopbacks.keys().flatten().filter(|inode| !kept(inode)).collect();
        strangers.iter().try_for_each(|inode| unmark(&mut self.loopbacks, u64::from(*inode)))?;
        self.forget_ways()
    }

    /// Where there is no hop, no packet is on a way.
    fn forget_ways(&mut self) -> Result<(), KernelError> {
        if self.namespaces.values().any(Namespace::has_hop) {
            return Ok(());
        }
        let numbers: Vec<u32> = self.ways.keys().flatten().collect();
        numbers.iter().try_for_each(|number| {
            let removed = tables::gone(self.ways.remove(number));
            removed.map_err(|source| KernelError::Map { what: "forget a way", source })
        })
    }

    fn claims_of(&mut self, need: Need) -> &mut Claims {
        &mut self.claims[need as usize]
    }

    fn has_left_hooks(&self, target: &Cgroup, side: Side) -> Result<bool, KernelError> {
        let inodes = self.located.get(&target.id).into_iter().flatten();
        let mut here = inodes.filter_map(|inode| self.namespaces.get(inode)).peekable();
        // Without processes there is no place to look at.
        let is_there = here.peek().is_none();
        here.try_fold(is_there, |any, namespace| {
            Ok(any | namespace.has_left_hooks(&self.manner, side)?)
        })
    }

    /// Takes over the hops of an earlier process; all must be there.
    fn has_left_hops(&mut self, target: &Cgroup, purpose: Purpose) -> Result<bool, KernelError> {
        for inode in self.located.get(&target.id).into_iter().flatten() {
            let Some(namespace) = self.namespaces.get_mut(inode) else { continue };
            if !namespace.adopt_hop(purpose, &self.manner)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn links(&self) -> impl Iterator<Item = &Hook> {
        self.namespaces.values().flat_map(Namespace::links)
    }

    /// Hops of an earlier process in which packets still wait, and that nobody claimed, go when they are empty.
    fn let_drain(&mut self) {
        for (inode, handle) in target::all_network_namespaces() {
            if self.namespaces.get(&inode).is_some_and(Namespace::has_hop) {
                continue;
            }
            let hops = &self.manner.hops;
            // Where it cannot be told, they are swept.
            let has_left = |purpose| hops.has_left(purpose, inode).unwrap_or(false);
            let left = || Purpose::ALL.into_iter().filter(|purpose| has_left(*purpose)).collect();
            let left: Vec<Purpose> = netns::within(handle.as_fd(), left).unwrap_or_default();
            for purpose in left {
                if let Ok(namespace) = self.known(inode, &handle) {
                    namespace.let_drain(purpose);
                    self.drain_at = Some(BootTime::now().after(DRAIN_EVERY));
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
            let has_hop = namespace.is_some_and(Namespace::has_hop);
            hop::sweep(|owner| owner.is_gone() || (owner == own && !has_hop))
        })
    }

    /// Reads where a target's processes are. What has no process now keeps what it had, since a unit
    /// that restarts comes back to the same place.
    fn locate(&mut self, target: &Cgroup) -> Result<(), KernelError> {
        let found = target::network_namespaces(&self.root, &target.path, &|inode| {
            self.namespaces.contains_key(&inode)
        });
        let found = found.map_err(|error| KernelError::Hook {
            what: "find the network namespaces of the processes in",
            place: target.path.to_string(),
            reason: error.to_string(),
        })?;
        let mut inodes = BTreeSet::new();
        for namespace in found {
            inodes.insert(namespace.inode);
            if let Some(handle) = namespace.handle {
                let new = Namespace::open(namespace.inode, handle)?;
                self.namespaces.insert(namespace.inode, new);
            }
        }
        if inodes.is_empty() {
            return Ok(());
        }
        let before = self.located.entry(target.id).or_default();
        for gone in before.difference(&inodes) {
            if let Some(namespace) = self.namespaces.get_mut(gone) {
                namespace.users.remove(&target.id);
            }
        }
        for inode in &inodes {
            if let Some(namespace) = self.namespaces.get_mut(inode) {
                namespace.users.insert(target.id);
            }
        }
        *before = inodes;
        Ok(())
    }

    /// Whose processes' namespaces need what.
    fn claimants(&self) -> [BTreeSet<u64>; Need::COUNT] {
        std::array::from_fn(|need| self.claims[need].targets().map(|target| target.id).collect())
    }

    /// Makes what is needed, in some namespaces.
    fn provide(
        &mut self,
        object: &mut Object,
        wanted: impl Fn(&Namespace) -> bool,
    ) -> Result<(), KernelError> {
        let claimants = self.claimants();
        let mut result = Ok(());
        for (inode, namespace) in &mut self.namespaces {
            if !wanted(namespace) {
                continue;
            }
            let needs = needs(namespace, &claimants);
            for purpose in Purpose::ALL.into_iter().filter(|purpose| needs.detour(*purpose)) {
                result = result.and(namespace.open_hop(purpose, &self.manner, object));
            }
            if let Some(hold) = namespace.loopback_hold() {
                result = result.and(mark(&mut self.loopbacks, *inode, hold));
            }
            result = result.and(namespace.attach_missing(&self.manner, needs, object));
        }
        result
    }

    /// Removes what nobody needs, where that may be.
    fn settle(&mut self) -> Result<(), KernelError> {
        let claimants = self.claimants();
        let mut result = Ok(());
        for inode in std::mem::take(&mut self.unsettled) {
            let Some(namespace) = self.namespaces.get_mut(&inode) else { continue };
            let needs = needs(namespace, &claimants);
            let mut settled = namespace.detach_unneeded(&self.manner, needs);
            for purpose in Purpose::ALL.into_iter().filter(|purpose| !needs.detour(*purpose)) {
                if namespace.has_open_hop(purpose) {
                    if purpose == Purpose::Wait {
                        settled = settled.and(unmark(&mut self.loopbacks, inode));
                    }
                    namespace.stop_hop(purpose);
                    self.drain_at = Some(BootTime::now().after(DRAIN_EVERY));
                }
            }
            match settled {
                // What waits in its hop is still to come back.
                Ok(()) if namespace.is_idle() => drop(self.namespaces.remove(&inode)),
                Ok(()) => {}
                Err(error) => {
                    self.unsettled.insert(inode);
                    result = result.and(Err(error));
                }
            }
        }
        result
    }
}

/// What the targets need whose processes are in a namespace.
fn needs(namespace: &Namespace, claimants: &[BTreeSet<u64>; Need::COUNT]) -> Needs {
    let has =
        |need: Need| namespace.users.iter().any(|user| claimants[need as usize].contains(user));
    Needs {
        out: has(Need::Out),
        incoming: has(Need::In),
        hold: has(Need::Hold),
        spoil: has(Need::Spoil),
    }
}

/// Removes the filters and hops of every daemon, and of runs whose process is gone.
pub(super) fn sweep_node() -> Result<(), KernelError> {
    let is_doomed = |owner: Instance| owner.is_daemon() || owner.is_gone();
    each_namespace(|_| {
        let indexes = interfaces::list()?.into_keys();
        let swept = indexes.map(|index| clsact::sweep(index, |owner, _| is_doomed(owner)));
        swept.fold(Ok(()), Result::and).and(hop::sweep(is_doomed))
    })
}

/// Notes that a namespace's loopback holds packets.
fn mark(
    loopbacks: &mut Table<MapData, u32, u32>,
    inode: u64,
    hold: LoopbackHold,
) -> Result<(), KernelError> {
    let written = loopbacks.insert(&(inode as u32), &(hold as u32), 0);
    written.map_err(|source| KernelError::Map { what: "mark a loopback", source })
}

/// Notes that it does not any more.
fn unmark(loopbacks: &mut Table<MapData, u32, u32>, inode: u64) -> Result<(), KernelError> {
    let removed = tables::gone(loopbacks.remove(&(inode as u32)));
    removed.map_err(|source| KernelError::Map { what: "unmark a loopback", source })
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
