//! Where what a target sends passes our program: every interface of every network namespace that
//! its processes use.
//!
//! A *claim* says that a rule needs a target covered. Namespaces and interfaces follow from the
//! claims; [`Egress::refresh`] brings what is attached in line with them, and is cheap enough to be
//! called at every change and on a slow clock. An interface that comes later is attached when its
//! namespace's watch says so; a process that changes its namespace unseen, at the next tick.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use super::{
    EgressTier, Instance, KernelError, Pins, RuleId,
    claims::{Claims, Left},
    clsact,
    hook::{self, Hook},
    interfaces,
    namespace::{self, Manner, Namespace},
    object::Object,
};
use crate::{
    netns,
    target::{self, Cgroup, CgroupRoot},
};

pub(super) struct Egress {
    root: CgroupRoot,
    manner: Manner,
    claims: Claims,
    /// The namespaces in which the processes of each target were last seen.
    located: HashMap<u64, BTreeSet<u64>>,
    /// By inode.
    namespaces: HashMap<u64, Namespace>,
    /// Namespaces that nobody needs and that could not be left.
    unleft: BTreeSet<u64>,
}

impl Egress {
    pub(super) fn new(
        root: CgroupRoot,
        instance: Instance,
        pins: Option<Pins>,
        tier: Option<EgressTier>,
    ) -> Self {
        Self {
            root,
            manner: Manner { tier, instance, pins },
            claims: Claims::default(),
            located: HashMap::new(),
            namespaces: HashMap::new(),
            unleft: BTreeSet::new(),
        }
    }

    /// Covers a target for a rule, whether or not it was covered before.
    pub(super) fn claim(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        self.claims.add(rule, target);
        self.locate(target)?;
        // Only where this target is: what is wrong elsewhere is no reason to refuse it.
        self.attach_missing(object, |namespace| namespace.users.contains(&target.id))
    }

    /// Covers a target for a rule by the hooks that an earlier process left, and where interfaces came since,
    /// by new ones. False if none is left.
    pub(super) fn adopt(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<bool, KernelError> {
        self.claims.add(rule, target);
        self.locate(target)?;
        let inodes = self.located.get(&target.id).into_iter().flatten();
        let mut here = inodes.filter_map(|inode| self.namespaces.get(inode)).peekable();
        // Without processes there is no place to look at.
        let is_there = here.peek().is_none();
        let is_left = here.try_fold(is_there, |any, namespace| {
            Ok::<_, KernelError>(any | namespace.has_left_hooks(&self.manner)?)
        });
        if !is_left? {
            return Ok(false);
        }
        self.attach_missing(object, |namespace| namespace.users.contains(&target.id))?;
        Ok(true)
    }

    /// A rule no longer needs its target covered.
    pub(super) fn release(&mut self, rule: RuleId, target: &Cgroup) -> Result<(), KernelError> {
        if self.claims.remove(rule, target) == Left::Some {
            return Ok(());
        }
        for inode in self.located.remove(&target.id).unwrap_or_default() {
            if let Some(namespace) = self.namespaces.get_mut(&inode) {
                namespace.users.remove(&target.id);
            }
            self.unleft.insert(inode);
        }
        // Also those of earlier tries, whosoever they were: this one is not over before they are left.
        self.leave()
    }

    /// Finds the targets' namespaces again, then attaches and detaches as needed.
    pub(super) fn refresh(&mut self, object: &mut Object) -> Result<(), KernelError> {
        let targets: Vec<Cgroup> = self.claims.targets().cloned().collect();
        let mut result = Ok(());
        for target in targets {
            result = result.and(self.locate(&target));
        }
        result = result.and(self.attach_missing(object, |_| true));
        self.unleft.extend(self.namespaces.keys());
        result.and(self.leave())
    }

    /// Attaches to interfaces that came, in the namespaces that are known.
    pub(super) fn refresh_interfaces(&mut self, object: &mut Object) -> Result<(), KernelError> {
        self.namespaces.values_mut().for_each(Namespace::listen);
        self.attach_missing(object, |_| true)
    }

    /// Looks whether every hook is where it was put.
    pub(super) fn inspect(&mut self) -> Result<(), KernelError> {
        let namespaces = self.namespaces.values_mut();
        namespaces.map(|namespace| namespace.inspect(&self.manner)).fold(Ok(()), Result::and)
    }

    /// Whether every pin is there.
    pub(super) fn has_pins(&self) -> bool {
        self.links().all(Hook::has_pin)
    }

    /// Whether a target was found covered when [`Egress::inspect`] last looked.
    pub(super) fn covers(&self, target: &Cgroup) -> bool {
        let inodes = self.located.get(&target.id).into_iter().flatten();
        let mut namespaces = inodes.filter_map(|inode| self.namespaces.get(inode));
        !namespaces.any(Namespace::is_torn)
    }

    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.namespaces.values().map(Namespace::watch)
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        hook::sweep(self.manner.pins.as_ref(), namespace::PIN, self.links())?;
        if self.manner.tier == Some(EgressTier::Clsact)
            && let Err(error) = self.sweep_filters()
        {
            // Of the namespaces of others some may not be entered: no reason not to start.
            tracing::warn!(%error, "could not look everywhere for filters left behind");
        }
        Ok(())
    }

    fn links(&self) -> impl Iterator<Item = &Hook> {
        self.namespaces.values().flat_map(Namespace::links)
    }

    /// Filters have no pins: look into every namespace of the node.
    fn sweep_filters(&self) -> Result<(), KernelError> {
        let own = self.manner.instance;
        each_interface(|inode, index| {
            let namespace = self.namespaces.get(&inode);
            let is_kept = namespace.is_some_and(|namespace| namespace.has_hook(index));
            clsact::sweep(index, |owner| owner.is_gone() || (owner == own && !is_kept))
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

    fn attach_missing(
        &mut self,
        object: &mut Object,
        wanted: impl Fn(&Namespace) -> bool,
    ) -> Result<(), KernelError> {
        let wanted = self.namespaces.values_mut().filter(|namespace| wanted(namespace));
        let attached = wanted.map(|namespace| namespace.attach_missing(&self.manner, object));
        attached.fold(Ok(()), Result::and)
    }

    /// Detaches all hooks in the namespaces that nobody needs any more.
    fn leave(&mut self) -> Result<(), KernelError> {
        let mut result = Ok(());
        for inode in std::mem::take(&mut self.unleft) {
            let Some(namespace) = self.namespaces.get_mut(&inode) else { continue };
            if !namespace.users.is_empty() {
                continue;
            }
            match namespace.detach_all(&self.manner) {
                Ok(()) => drop(self.namespaces.remove(&inode)),
                Err(error) => {
                    self.unleft.insert(inode);
                    result = result.and(Err(error));
                }
            }
        }
        result
    }
}

/// Removes the filters of every daemon, and of runs whose process is gone.
pub(super) fn sweep_node() -> Result<(), KernelError> {
    each_interface(|_, index| clsact::sweep(index, |owner| owner.is_daemon() || owner.is_gone()))
}

/// Does something about every interface of every network namespace of the node, from inside.
/// One that fails does not keep the others.
fn each_interface(work: impl Fn(u64, u32) -> io::Result<()> + Sync) -> Result<(), KernelError> {
    let mut result = Ok(());
    for (inode, handle) in target::all_network_namespaces() {
        let done = netns::within(handle.as_fd(), || {
            let each = interfaces::list()?.into_keys().map(|index| work(inode, index));
            each.fold(Ok(()), Result::and)
        });
        if let Err(error) | Ok(Err(error)) = done {
            let failed = namespace::failed("look for filters left behind in", inode, &error);
            result = result.and(Err(failed));
        }
    }
    result
}
