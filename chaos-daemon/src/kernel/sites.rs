//! The network namespaces that targets' processes use, and what of ours is in each: hooks on every interface, and
//! a hop where packets wait.
//!
//! A *claim* says that a rule needs something there for a target. Namespaces and interfaces follow from the
//! claims; [`Sites::refresh`] brings what is there in line with them, and is cheap enough to be called at every
//! change and on a slow clock. An interface that comes later is attached when its namespace's watch says so; a
//! process that changes its namespace unseen, at the next tick.

mod sweep;

pub(super) use sweep::sweep_node;

use std::{
    collections::{BTreeSet, HashMap},
    os::fd::BorrowedFd,
    time::Duration,
};

use aya::maps::{HashMap as Table, MapData, PerCpuArray};
use chaos_common::abi::Way;

use super::{
    Instance, KernelError, Pins, RuleId, Support,
    claims::{Claims, Left},
    holder::HeldPackets,
    hook::Hook,
    hop::{Hops, Purpose},
    namespace::{Manner, Namespace},
    need::{Need, Needs},
    object::Object,
    side::Side,
    tables,
};
use crate::{
    boot_clock::BootTime,
    target::{self, Cgroup, CgroupRoot},
};

/// How soon to look whether a hop is empty that nobody needs; then after twice that, and so on.
const DRAIN_SOON: Duration = Duration::from_millis(50);
/// How often at least.
const DRAIN_EVERY: Duration = Duration::from_secs(1);
/// How soon to try again where that failed.
const DRAIN_AGAIN: Duration = Duration::from_secs(10);

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
    /// Where packets in hops are to go.
    ways: Table<MapData, u32, Way>,
    /// How many packets there was no room for in the kernel.
    lost: PerCpuArray<MapData, u64>,
    /// When to look whether hops are empty.
    drain_at: Option<BootTime>,
    /// How long before that nobody looked.
    drain_pause: Duration,
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
                hops: Hops::new(instance, support.hold_tier(), object.tables()),
            },
            claims: Default::default(),
            located: HashMap::new(),
            namespaces: HashMap::new(),
            unsettled: BTreeSet::new(),
            ways: tables::typed(object.take_map("WAYS")?)?,
            lost: tables::typed(object.take_map("LOST")?)?,
            drain_at: None,
            drain_pause: DRAIN_SOON,
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

    /// What waits, in this process and in the kernel, and what was lost of what was to wait.
    pub(super) fn held_packets(&self) -> HeldPackets {
        let here = self.namespaces.values().map(|namespace| namespace.held_packets(&self.manner));
        let no_room = self.lost.get(&0, 0).map_or(0, |counts| counts.iter().sum());
        let no_room = HeldPackets { waiting: 0, lost: no_room };
        here.chain([self.manner.hops.packets(), no_room]).fold(
            HeldPackets::default(),
            |sum, one| HeldPackets {
                waiting: sum.waiting + one.waiting,
                lost: sum.lost + one.lost,
            },
        )
    }

    /// Looks soon whether hops can be removed, and less and less often.
    fn drain_soon(&mut self) {
        self.drain_pause = DRAIN_SOON;
        self.drain_at = Some(BootTime::now().after(DRAIN_SOON));
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
        self.drain_pause =
            if result.is_ok() { DRAIN_EVERY.min(2 * self.drain_pause) } else { DRAIN_AGAIN };
        self.drain_at = is_left.then(|| BootTime::now().after(self.drain_pause));
        result.and(self.forget_ways()).map(|()| is_left)
    }

    /// Where there is no hop, no packet is on a way.
    fn forget_ways(&mut self) -> Result<(), KernelError> {
        if self.namespaces.values().any(Namespace::has_hops) {
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
        for namespace in self.namespaces.values_mut() {
            if !wanted(namespace) {
                continue;
            }
            let needs = needs(namespace, &claimants);
            for purpose in
                Purpose::ALL.into_iter().filter(|purpose| needs.contains(&(*purpose).into()))
            {
                result = result.and(namespace.open_hop(purpose, &self.manner, object));
            }
            result = result.and(namespace.attach_missing(&self.manner, &needs, object));
        }
        result
    }

    /// Removes what nobody needs, where that may be.
    fn settle(&mut self) -> Result<(), KernelError> {
        let claimants = self.claimants();
        let (mut result, mut is_to_drain) = (Ok(()), false);
        for inode in std::mem::take(&mut self.unsettled) {
            let Some(namespace) = self.namespaces.get_mut(&inode) else { continue };
            let needs = needs(namespace, &claimants);
            let settled = namespace.detach_unneeded(&self.manner, &needs);
            for purpose in
                Purpose::ALL.into_iter().filter(|purpose| !needs.contains(&(*purpose).into()))
            {
                if namespace.has_open_hop(purpose) {
                    namespace.stop_hop(purpose);
                    is_to_drain = true;
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
        if is_to_drain {
            self.drain_soon();
        }
        result
    }
}

/// What the targets need whose processes are in a namespace.
fn needs(namespace: &Namespace, claimants: &[BTreeSet<u64>; Need::COUNT]) -> Needs {
    let is_needed =
        |need: &Need| namespace.users.iter().any(|user| claimants[*need as usize].contains(user));
    Need::ALL.into_iter().filter(is_needed).collect()
}
