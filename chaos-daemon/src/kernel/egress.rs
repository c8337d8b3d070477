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

use aya::programs::{
    LinkOrder, SchedClassifier, TcAttach, TcAttachType,
    links::{FdLink, PinnedLink},
};

use super::{
    EgressTier, Instance, KernelError, Pins, RuleId, clsact,
    clsact::innermost,
    interfaces::{self, Heard, Watch},
    netns,
    object::Object,
};
use crate::target::{self, Cgroup, CgroupRoot};

const PIN: &str = "out-";

pub(super) struct Egress {
    root: CgroupRoot,
    instance: Instance,
    pins: Option<Pins>,
    tier: Option<EgressTier>,
    claims: HashMap<u64, Claim>,
    namespaces: HashMap<u64, Namespace>,
}

/// A target that rules need covered, and where its processes were last seen.
struct Claim {
    target: Cgroup,
    rules: HashSet<RuleId>,
    namespaces: BTreeSet<u64>,
}

/// A network namespace with hooks of ours.
struct Namespace {
    handle: OwnedFd,
    watch: Watch,
    hooks: BTreeMap<u32, Hook>,
    /// Ids of the targets whose processes are in it.
    users: HashSet<u64>,
    /// Its interfaces may not all be attached.
    is_dirty: bool,
}

/// Our program on one interface.
enum Hook {
    /// Ends with this value.
    Link { _link: FdLink },
    /// Ends with the pin of this name.
    Pin(String),
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
        Self { root, instance, pins, tier, claims: HashMap::new(), namespaces: HashMap::new() }
    }

    /// Covers a target for a rule, whether or not it was covered before.
    pub(super) fn claim(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        let claim = self.claims.entry(target.id).or_insert_with(|| Claim {
            target: target.clone(),
            rules: HashSet::new(),
            namespaces: BTreeSet::new(),
        });
        claim.rules.insert(rule);
        self.locate(target.id)?;
        // Only where this target is: what is wrong elsewhere is no reason to refuse it.
        self.attach_missing(object, |namespace| namespace.users.contains(&target.id))
    }

    /// A rule no longer needs its target covered.
    pub(super) fn release(&mut self, rule: RuleId, target: &Cgroup) -> Result<(), KernelError> {
        let Some(claim) = self.claims.get_mut(&target.id) else { return Ok(()) };
        claim.rules.remove(&rule);
        if !claim.rules.is_empty() {
            return Ok(());
        }
        let left = std::mem::take(&mut claim.namespaces);
        self.claims.remove(&target.id);
        let mut result = Ok(());
        for inode in left {
            if let Some(namespace) = self.namespaces.get_mut(&inode) {
                namespace.users.remove(&target.id);
            }
            result = result.and(self.detach_if_unused(inode));
        }
        result
    }

    /// Finds the targets' namespaces again, then attaches and detaches as needed.
    pub(super) fn refresh(&mut self, object: &mut Object) -> Result<(), KernelError> {
        let targets: Vec<u64> = self.claims.keys().copied().collect();
        let mut result = Ok(());
        for target in targets {
            result = result.and(self.locate(target));
        }
        result = result.and(self.attach_missing(object, |_| true));
        let inodes: Vec<u64> = self.namespaces.keys().copied().collect();
        for inode in inodes {
            result = result.and(self.detach_if_unused(inode));
        }
        result
    }

    /// Looks at every interface again at the next refresh, whatever was heard of it.
    pub(super) fn distrust(&mut self) {
        for namespace in self.namespaces.values_mut() {
            namespace.is_dirty = true;
        }
    }

    /// Attaches to interfaces that came, in the namespaces that are known.
    pub(super) fn refresh_interfaces(&mut self, object: &mut Object) -> Result<(), KernelError> {
        for namespace in self.namespaces.values_mut() {
            namespace.is_dirty |= namespace.watch.clear() == Heard::Something;
        }
        self.attach_missing(object, |_| true)
    }

    /// Whether every hook is where it was put: somebody may have removed the pins by hand.
    pub(super) fn is_intact(&self) -> bool {
        let Some(pins) = &self.pins else { return true };
        let hooks = self.namespaces.values().flat_map(|namespace| namespace.hooks.values());
        hooks.into_iter().all(|hook| match hook {
            Hook::Pin(name) => pins.has(name),
            Hook::Link { .. } | Hook::Filter => true,
        })
    }

    pub(super) fn has_claims(&self) -> bool {
        !self.claims.is_empty()
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.namespaces.values().map(|namespace| namespace.watch.fd())
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        if let Some(pins) = &self.pins {
            for name in pins.names(PIN) {
                let is_ours = self.namespaces.values().any(|namespace| {
                    namespace
                        .hooks
                        .values()
                        .any(|hook| matches!(hook, Hook::Pin(pin) if *pin == name))
                });
                if !is_ours {
                    pins.unpin(&name)?;
                }
            }
        }
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
    fn locate(&mut self, target: u64) -> Result<(), KernelError> {
        let Some(claim) = self.claims.get_mut(&target) else { return Ok(()) };
        let found = target::network_namespaces(&self.root, &claim.target.path, &|inode| {
            self.namespaces.contains_key(&inode)
        });
        let found = found.map_err(|error| KernelError::Hook {
            what: "find the network namespaces of the processes",
            place: claim.target.path.to_string(),
            reason: error.to_string(),
        })?;
        let mut inodes = BTreeSet::new();
        for namespace in found {
            inodes.insert(namespace.inode);
            let Some(handle) = namespace.handle else { continue };
            let watch = netns::within(handle.as_fd(), Watch::open).and_then(|watch| watch);
            let watch = watch.map_err(|error| KernelError::Hook {
                what: "watch the interfaces",
                place: format!("network namespace {}", namespace.inode),
                reason: error.to_string(),
            })?;
            let new = Namespace {
                handle,
                watch,
                hooks: BTreeMap::new(),
                users: HashSet::new(),
                is_dirty: true,
            };
            self.namespaces.insert(namespace.inode, new);
        }
        if inodes.is_empty() {
            return Ok(());
        }
        for gone in claim.namespaces.difference(&inodes) {
            if let Some(namespace) = self.namespaces.get_mut(gone) {
                namespace.users.remove(&target);
            }
        }
        for inode in &inodes {
            if let Some(namespace) = self.namespaces.get_mut(inode) {
                namespace.users.insert(target);
            }
        }
        claim.namespaces = inodes;
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
            let place = Place {
                inode: *inode,
                tier: self.tier,
                instance: self.instance,
                pins: self.pins.as_ref(),
            };
            let attached = netns::within(namespace.handle.as_fd(), || {
                place.attach_missing(&mut namespace.hooks, program)
            });
            let attached = attached.unwrap_or_else(|error| {
                Err(KernelError::Hook {
                    what: "enter",
                    place: format!("network namespace {inode}"),
                    reason: error.to_string(),
                })
            });
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
        detach_all(namespace, self.instance, self.pins.as_ref())?;
        self.namespaces.remove(&inode);
        Ok(())
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
            interfaces::list()?.into_keys().try_for_each(|index| work(inode, index))
        });
        if let Err(error) | Ok(Err(error)) = done {
            result = result.and(Err(KernelError::Hook {
                what: "look for filters left behind",
                place: format!("network namespace {inode}"),
                reason: error.to_string(),
            }));
        }
    }
    result
}

/// What attaching in one namespace takes.
struct Place<'a> {
    inode: u64,
    tier: Option<EgressTier>,
    instance: Instance,
    pins: Option<&'a Pins>,
}

impl Place<'_> {
    /// Runs in the namespace.
    fn attach_missing(
        &self,
        hooks: &mut BTreeMap<u32, Hook>,
        program: &mut SchedClassifier,
    ) -> Result<(), KernelError> {
        let failed = |what, place: &str, reason: String| KernelError::Hook {
            what,
            place: place.to_owned(),
            reason,
        };
        let interfaces = interfaces::list().map_err(|error| {
            failed("list the interfaces", "network namespace", error.to_string())
        })?;
        let vanished: Vec<u32> =
            hooks.keys().copied().filter(|index| !interfaces.contains_key(index)).collect();
        for index in vanished {
            // The kernel detached it with its interface; only the pin is left.
            if let (Some(Hook::Pin(name)), Some(pins)) = (hooks.remove(&index), self.pins) {
                pins.unpin(&name)?;
            }
        }
        // The kernel takes some 10 ms for each link; most traffic does not wait for the loopback's.
        let is_loopback = |(_, name): &(&u32, &String)| *name == "lo";
        let mut order: Vec<_> = interfaces.iter().collect();
        order.sort_by_key(is_loopback);
        let mut result = Ok(());
        for (index, name) in order {
            if hooks.contains_key(index) {
                continue;
            }
            match self.attach(*index, program) {
                Ok(hook) => drop(hooks.insert(*index, hook)),
                // It may have gone meanwhile.
                Err(_) if !interfaces::list().is_ok_and(|now| now.contains_key(index)) => {}
                Err(reason) => {
                    result = result.and(Err(failed("attach to interface", name, reason)));
                }
            }
        }
        result
    }

    fn attach(&self, index: u32, program: &mut SchedClassifier) -> Result<Hook, String> {
        match self.tier {
            Some(EgressTier::Tcx) => {
                let link = tcx_link(index, program)?;
                let Some(pins) = self.pins else { return Ok(Hook::Link { _link: link }) };
                let name = format!("{PIN}{}-{index}", self.inode);
                // An earlier daemon's link goes only now, so that no packet passes unseen; the mark
                // keeps the two from judging a packet twice.
                pins.unpin(&name).map_err(|error| error.to_string())?;
                let _: PinnedLink =
                    link.pin(pins.path(&name)).map_err(|error| innermost(&error))?;
                Ok(Hook::Pin(name))
            }
            Some(EgressTier::Clsact) => {
                clsact::attach(program, index, self.instance).map(|()| Hook::Filter)
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

/// What could not be detached stays in the list, and is tried again.
fn detach_all(
    namespace: &mut Namespace,
    instance: Instance,
    pins: Option<&Pins>,
) -> Result<(), KernelError> {
    let hooks = &mut namespace.hooks;
    let detached = netns::within(namespace.handle.as_fd(), || {
        let mut failure = None;
        hooks.retain(|index, hook| {
            let done = match (hook, pins) {
                (Hook::Pin(name), Some(pins)) => pins.unpin(name),
                (Hook::Filter, _) => {
                    clsact::detach(*index, instance).map_err(|error| failed(*index, &error))
                }
                // A link ends with its value.
                (Hook::Link { .. } | Hook::Pin(_), _) => Ok(()),
            };
            let is_left = done.is_err();
            failure = failure.take().or(done.err());
            is_left
        });
        failure.map_or(Ok(()), Err)
    });
    detached.unwrap_or_else(|error| {
        Err(KernelError::Hook {
            what: "enter",
            place: "a network namespace".into(),
            reason: error.to_string(),
        })
    })
}

fn failed(index: u32, error: &io::Error) -> KernelError {
    KernelError::Hook {
        what: "detach",
        place: format!("interface {index}"),
        reason: error.to_string(),
    }
}
