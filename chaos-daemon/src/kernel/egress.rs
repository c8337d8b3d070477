//! Where what a target sends passes our program: every interface of every network namespace that
//! its processes use.
//!
//! A *claim* says that a rule needs a target covered. Namespaces and interfaces follow from the
//! claims; [`Egress::refresh`] brings what is attached in line with them, and is cheap enough to be
//! called at every change and on a slow clock. An interface that comes later is attached when its
//! namespace's watch says so; a process that changes its namespace unseen, at the next tick.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::{LinkOrder, SchedClassifier, TcAttach, TcAttachType, links::FdLink};

use super::{
    EgressTier, Instance, KernelError, Pins, RuleId,
    claims::{Claims, Left},
    clsact,
    error::innermost,
    hook::{self, Hook},
    interfaces::{self, Heard, Watch},
    link::Place,
    object::Object,
};
use crate::{
    netns,
    target::{self, Cgroup, CgroupRoot},
};

const PIN: &str = "out-";

pub(super) struct Egress {
    root: CgroupRoot,
    instance: Instance,
    pins: Option<Pins>,
    tier: Option<EgressTier>,
    claims: Claims,
    /// Where the processes of each target were last seen.
    located: HashMap<u64, BTreeSet<u64>>,
    namespaces: HashMap<u64, Namespace>,
}

/// A network namespace with hooks of ours.
struct Namespace {
    handle: OwnedFd,
    watch: Watch,
    /// By interface.
    hooks: BTreeMap<u32, Attached>,
    /// Ids of the targets whose processes are in it.
    users: HashSet<u64>,
    /// Its interfaces may not all be attached.
    is_dirty: bool,
    /// A hook that was attached is not there any more, and its interface is.
    is_torn: bool,
}

/// Our program on one interface.
enum Attached {
    Link(Hook),
    /// Ends when deleted.
    Filter,
}

impl Egress {
    pub(super) fn new(
        root: CgroupRoot,
        instance: Instance,
        pins: Option<Pins>,
        tier: Option<EgressTier>,
    ) -> Self {
        let (claims, located, namespaces) = (Claims::default(), HashMap::new(), HashMap::new());
        Self { root, instance, pins, tier, claims, located, namespaces }
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

    /// A rule no longer needs its target covered.
    pub(super) fn release(&mut self, rule: RuleId, target: &Cgroup) -> Result<(), KernelError> {
        if self.claims.remove(rule, target) == Left::Some {
            return Ok(());
        }
        let mut result = Ok(());
        for inode in self.located.remove(&target.id).unwrap_or_default() {
            if let Some(namespace) = self.namespaces.get_mut(&inode) {
                namespace.users.remove(&target.id);
            }
            result = result.and(self.detach_if_unused(inode));
        }
        result
    }

    /// Finds the targets' namespaces again, then attaches and detaches as needed.
    pub(super) fn refresh(&mut self, object: &mut Object) -> Result<(), KernelError> {
        let targets: Vec<Cgroup> = self.claims.targets().cloned().collect();
        let mut result = Ok(());
        for target in targets {
            result = result.and(self.locate(&target));
        }
        result = result.and(self.attach_missing(object, |_| true));
        let inodes: Vec<u64> = self.namespaces.keys().copied().collect();
        for inode in inodes {
            result = result.and(self.detach_if_unused(inode));
        }
        result
    }

    /// Attaches to interfaces that came, in the namespaces that are known.
    pub(super) fn refresh_interfaces(&mut self, object: &mut Object) -> Result<(), KernelError> {
        for namespace in self.namespaces.values_mut() {
            namespace.is_dirty |= namespace.watch.clear() == Heard::Something;
        }
        self.attach_missing(object, |_| true)
    }

    /// Looks whether every hook is where it was put, and lets the next refresh look at every interface
    /// again, whatever was heard of it.
    pub(super) fn inspect(&mut self) -> Result<(), KernelError> {
        let mut result = Ok(());
        for (inode, namespace) in &mut self.namespaces {
            let looked = netns::within(namespace.handle.as_fd(), || {
                let torn = torn(&namespace.hooks, self.instance);
                torn.map_err(|error| failed("look for our hooks", *inode, &error))
            });
            match looked.unwrap_or_else(|error| Err(failed("enter", *inode, &error))) {
                Ok(is_torn) => namespace.is_torn |= is_torn,
                Err(error) => result = result.and(Err(error)),
            }
            namespace.is_dirty = true;
        }
        result
    }

    /// Whether every pin is there.
    pub(super) fn has_pins(&self) -> bool {
        let mut hooks = self.namespaces.values().flat_map(|namespace| namespace.hooks.values());
        hooks.all(|hook| match hook {
            Attached::Link(hook) => hook.has_pin(),
            Attached::Filter => true,
        })
    }

    /// Whether a target was found covered when [`Egress::inspect`] last looked.
    pub(super) fn covers(&self, target: &Cgroup) -> bool {
        let inodes = self.located.get(&target.id).into_iter().flatten();
        let mut namespaces = inodes.filter_map(|inode| self.namespaces.get(inode));
        !namespaces.any(|namespace| namespace.is_torn)
    }

    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.namespaces.values().map(|namespace| namespace.watch.fd())
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        let hooks = self.namespaces.values().flat_map(|namespace| namespace.hooks.values());
        let links = hooks.filter_map(|hook| match hook {
            Attached::Link(hook) => Some(hook),
            Attached::Filter => None,
        });
        hook::sweep(self.pins.as_ref(), PIN, links)?;
        if self.tier == Some(EgressTier::Clsact)
            && let Err(error) = self.sweep_filters()
        {
            // Of the namespaces of others some may not be entered: no reason not to start.
            tracing::warn!(%error, "could not look everywhere for filters left behind");
        }
        Ok(())
    }

    /// Filters have no pins: look into every namespace of the node.
    fn sweep_filters(&self) -> Result<(), KernelError> {
        each_interface(|inode, index| {
            let hooks = self.namespaces.get(&inode).map(|namespace| &namespace.hooks);
            let is_kept = hooks.is_some_and(|hooks| hooks.contains_key(&index));
            clsact::sweep(index, |owner| owner.is_gone() || (owner == self.instance && !is_kept))
        })
    }

    /// Reads where a target's processes are. What has no process now keeps what it had, since a unit
    /// that restarts comes back to the same place.
    fn locate(&mut self, target: &Cgroup) -> Result<(), KernelError> {
        let found = target::network_namespaces(&self.root, &target.path, &|inode| {
            self.namespaces.contains_key(&inode)
        });
        let found = found.map_err(|error| KernelError::Hook {
            what: "find the network namespaces of the processes",
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
        let mut result = Ok(());
        let namespaces = self.namespaces.iter_mut();
        for (inode, namespace) in namespaces.filter(|(_, each)| each.is_dirty && wanted(each)) {
            let program = object.egress()?;
            let within = Within {
                inode: *inode,
                tier: self.tier,
                instance: self.instance,
                pins: self.pins.as_ref(),
            };
            let attached = netns::within(namespace.handle.as_fd(), || {
                within.attach_missing(&mut namespace.hooks, program)
            });
            let attached = attached.unwrap_or_else(|error| Err(failed("enter", *inode, &error)));
            namespace.is_dirty = attached.is_err();
            result = result.and(attached);
        }
        result
    }

    fn detach_if_unused(&mut self, inode: u64) -> Result<(), KernelError> {
        let Some(namespace) = self.namespaces.get_mut(&inode) else { return Ok(()) };
        if !namespace.users.is_empty() {
            return Ok(());
        }
        // Whoever comes back before all is detached finds out what is missing.
        namespace.is_dirty = true;
        let instance = self.instance;
        let detached =
            netns::within(namespace.handle.as_fd(), || detach_all(&mut namespace.hooks, instance));
        detached.unwrap_or_else(|error| Err(failed("enter", inode, &error)))?;
        self.namespaces.remove(&inode);
        Ok(())
    }
}

impl Namespace {
    fn open(inode: u64, handle: OwnedFd) -> Result<Self, KernelError> {
        let watch = netns::within(handle.as_fd(), Watch::open).and_then(|watch| watch);
        Ok(Self {
            watch: watch.map_err(|error| failed("watch the interfaces of", inode, &error))?,
            handle,
            hooks: BTreeMap::new(),
            users: HashSet::new(),
            is_dirty: true,
            is_torn: false,
        })
    }
}

fn failed(what: &'static str, inode: u64, error: &io::Error) -> KernelError {
    let place = format!("network namespace {inode}");
    KernelError::Hook { what, place, reason: error.to_string() }
}

/// Whether a hook of this namespace is gone although its interface is not. Runs in the namespace.
fn torn(hooks: &BTreeMap<u32, Attached>, instance: Instance) -> io::Result<bool> {
    let there = interfaces::list()?;
    for (index, hook) in hooks.iter().filter(|(index, _)| there.contains_key(index)) {
        let is_there = match hook {
            Attached::Link(hook) => hook.is_at(Place::Interface(*index)),
            Attached::Filter => clsact::is_attached(*index, instance)?,
        };
        if !is_there && interfaces::list()?.contains_key(index) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs in the namespace. What could not be detached stays in the list, and is tried again.
fn detach_all(hooks: &mut BTreeMap<u32, Attached>, instance: Instance) -> Result<(), KernelError> {
    let mut result = Ok(());
    hooks.retain(|index, hook| {
        let detached = match hook {
            Attached::Link(hook) => hook.detach(),
            Attached::Filter => {
                clsact::detach(*index, instance).map_err(|error| KernelError::Hook {
                    what: "detach",
                    place: format!("interface {index}"),
                    reason: error.to_string(),
                })
            }
        };
        let is_left = detached.is_err();
        if result.is_ok() {
            result = detached;
        }
        is_left
    });
    result
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
            interfaces::list()?.into_keys().try_for_each(|index| work(inode, index))
        });
        if let Err(error) | Ok(Err(error)) = done {
            result = result.and(Err(failed("look for filters left behind in", inode, &error)));
        }
    }
    result
}

/// What attaching in one namespace takes.
struct Within<'a> {
    inode: u64,
    tier: Option<EgressTier>,
    instance: Instance,
    pins: Option<&'a Pins>,
}

impl Within<'_> {
    /// Runs in the namespace.
    fn attach_missing(
        &self,
        hooks: &mut BTreeMap<u32, Attached>,
        program: &mut SchedClassifier,
    ) -> Result<(), KernelError> {
        let interfaces = interfaces::list()
            .map_err(|error| failed("list the interfaces of", self.inode, &error))?;
        let mut result = Ok(());
        hooks.retain(|index, hook| {
            let is_there = interfaces.contains_key(index);
            // The kernel detached it with its interface; only the pin is left.
            if !is_there
                && let Attached::Link(hook) = hook
                && let Err(error) = hook.detach()
            {
                result = Err(error);
                return true;
            }
            is_there
        });
        // The kernel takes some 10 ms for each link; most traffic does not wait for the loopback's.
        let is_loopback = |(_, name): &(&u32, &String)| *name == "lo";
        let mut order: Vec<_> = interfaces.iter().collect();
        order.sort_by_key(is_loopback);
        for (index, name) in order {
            if hooks.contains_key(index) {
                continue;
            }
            match self.attach(*index, program) {
                Ok(hook) => drop(hooks.insert(*index, hook)),
                // It may have gone meanwhile.
                Err(_) if !interfaces::list().is_ok_and(|now| now.contains_key(index)) => {}
                Err(reason) => {
                    let place = name.clone();
                    let what = "attach to interface";
                    result = result.and(Err(KernelError::Hook { what, place, reason }));
                }
            }
        }
        result
    }

    fn attach(&self, index: u32, program: &mut SchedClassifier) -> Result<Attached, String> {
        match self.tier {
            Some(EgressTier::Tcx) => {
                let name = format!("{PIN}{}-{index}", self.inode);
                let hook = match Hook::adopt(self.pins, &name, Place::Interface(index)) {
                    Some(hook) => hook,
                    None => Hook::keep(tcx_link(index, program)?, self.pins, name)?,
                };
                Ok(Attached::Link(hook))
            }
            Some(EgressTier::Clsact) => {
                clsact::attach(program, index, self.instance).map(|()| Attached::Filter)
            }
            None => Err("neither tcx nor clsact works on this kernel".into()),
        }
    }
}

/// A link at the head of an interface's egress, in the calling thread's network namespace.
pub(super) fn tcx_link(index: u32, program: &mut SchedClassifier) -> Result<FdLink, String> {
    let attach = TcAttach::Tcx { attach_type: TcAttachType::Egress, order: LinkOrder::first() };
    let id = program.attach(index, attach).map_err(|error| innermost(&error))?;
    let link = program.take_link(id).map_err(|error| innermost(&error))?;
    link.try_into().map_err(|error: aya::programs::links::LinkError| innermost(&error))
}
