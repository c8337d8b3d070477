//! One network namespace with hooks of ours: on every interface, and on those that come.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::{LinkOrder, SchedClassifier, TcAttach, TcAttachType, links::FdLink};

use super::{
    EgressTier, Instance, KernelError, Pins, clsact,
    error::innermost,
    hook::Hook,
    interfaces::{self, Heard, Watch},
    link::Place,
    object::Object,
};
use crate::netns;

/// What the names of pins of ours on interfaces begin with.
pub(super) const PIN: &str = "out-";

/// How an [`Egress`](super::egress::Egress) attaches, everywhere.
pub(super) struct Manner {
    pub(super) tier: Option<EgressTier>,
    pub(super) instance: Instance,
    pub(super) pins: Option<Pins>,
}

/// A network namespace with hooks of ours.
pub(super) struct Namespace {
    inode: u64,
    handle: OwnedFd,
    watch: Watch,
    /// By interface.
    hooks: BTreeMap<u32, Attached>,
    /// Ids of the targets whose processes are in it.
    pub(super) users: HashSet<u64>,
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

impl Namespace {
    pub(super) fn open(inode: u64, handle: OwnedFd) -> Result<Self, KernelError> {
        let watch = netns::within(handle.as_fd(), Watch::open).and_then(|watch| watch);
        Ok(Self {
            inode,
            watch: watch.map_err(|error| failed("watch the interfaces of", inode, &error))?,
            handle,
            hooks: BTreeMap::new(),
            users: HashSet::new(),
            is_dirty: true,
            is_torn: false,
        })
    }

    /// Readable when an interface came, went or changed.
    pub(super) fn watch(&self) -> BorrowedFd<'_> {
        self.watch.fd()
    }

    /// Takes what was heard of interfaces.
    pub(super) fn listen(&mut self) {
        self.is_dirty |= self.watch.clear() == Heard::Something;
    }

    pub(super) fn has_hook(&self, interface: u32) -> bool {
        self.hooks.contains_key(&interface)
    }

    /// The hooks that are links.
    pub(super) fn links(&self) -> impl Iterator<Item = &Hook> {
        self.hooks.values().filter_map(|hook| match hook {
            Attached::Link(hook) => Some(hook),
            Attached::Filter => None,
        })
    }

    /// Whether there is a hook of this process, or one that an earlier process of the same name left.
    pub(super) fn has_left_hooks(&self, manner: &Manner) -> Result<bool, KernelError> {
        if !self.hooks.is_empty() {
            return Ok(true);
        }
        match (manner.tier, &manner.pins) {
            (Some(EgressTier::Tcx), Some(pins)) => {
                Ok(!pins.names(&format!("{PIN}{}-", self.inode)).is_empty())
            }
            (Some(EgressTier::Clsact), _) => self.within(|| {
                let mut all = interfaces::list()
                    .map_err(|error| failed("list the interfaces of", self.inode, &error))?
                    .into_keys();
                all.try_fold(false, |any, index| {
                    Ok(any | clsact::is_attached(index, manner.instance)?)
                })
                .map_err(|error: io::Error| failed("look for our hooks in", self.inode, &error))
            }),
            (Some(EgressTier::Tcx) | None, _) => Ok(false),
        }
    }

    /// Whether a hook was missing when [`Namespace::inspect`] looked.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Looks whether every hook is where it was put, and lets the next [`Namespace::attach_missing`] look at
    /// every interface, whatever was heard of it.
    pub(super) fn inspect(&mut self, manner: &Manner) -> Result<(), KernelError> {
        self.is_dirty = true;
        let hooks = &self.hooks;
        let torn = self.within(|| {
            torn(hooks, manner.instance)
                .map_err(|error| failed("look for our hooks in", self.inode, &error))
        })?;
        self.is_torn |= torn;
        Ok(())
    }

    /// Attaches to the interfaces that have no hook; does nothing if there was no word of any.
    pub(super) fn attach_missing(
        &mut self,
        manner: &Manner,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        if !self.is_dirty {
            return Ok(());
        }
        let program = object.egress()?;
        let mut hooks = std::mem::take(&mut self.hooks);
        let attached = self.within(|| {
            let interfaces = interfaces::list()
                .map_err(|error| failed("list the interfaces of", self.inode, &error))?;
            drop_vanished(&mut hooks, &interfaces).and(self.attach_all(
                &mut hooks,
                &interfaces,
                manner,
                program,
            ))
        });
        self.hooks = hooks;
        self.is_dirty = attached.is_err();
        attached
    }

    /// Detaches every hook. What could not be detached stays known, and is tried again.
    pub(super) fn detach_all(&mut self, manner: &Manner) -> Result<(), KernelError> {
        // Whoever comes back before all is detached finds out what is missing.
        self.is_dirty = true;
        let mut hooks = std::mem::take(&mut self.hooks);
        let detached = self.within(|| {
            retain_failed(&mut hooks, |index, hook| match hook {
                Attached::Link(hook) => hook.detach(),
                Attached::Filter => {
                    clsact::detach(index, manner.instance).map_err(|error| KernelError::Hook {
                        what: "detach from",
                        place: format!("interface {index}"),
                        reason: error.to_string(),
                    })
                }
            })
        });
        self.hooks = hooks;
        detached
    }

    /// Runs in the namespace. The kernel takes some 10 ms for each link, and most traffic does not wait for
    /// the loopback's, so that is the last.
    fn attach_all(
        &self,
        hooks: &mut BTreeMap<u32, Attached>,
        interfaces: &BTreeMap<u32, String>,
        manner: &Manner,
        program: &mut SchedClassifier,
    ) -> Result<(), KernelError> {
        let mut missing: Vec<_> =
            interfaces.iter().filter(|(index, _)| !hooks.contains_key(index)).collect();
        missing.sort_by_key(|(_, name)| *name == "lo");
        let mut result = Ok(());
        for (index, name) in missing {
            match self.attach(*index, manner, program) {
                Ok(hook) => drop(hooks.insert(*index, hook)),
                // It may have gone meanwhile.
                Err(_) if !interfaces::list().is_ok_and(|now| now.contains_key(index)) => {}
                Err(reason) => {
                    let (what, place) = ("attach to interface", name.clone());
                    result = result.and(Err(KernelError::Hook { what, place, reason }));
                }
            }
        }
        result
    }

    fn attach(
        &self,
        index: u32,
        manner: &Manner,
        program: &mut SchedClassifier,
    ) -> Result<Attached, String> {
        match manner.tier {
            Some(EgressTier::Tcx) => {
                let (pins, name) = (manner.pins.as_ref(), format!("{PIN}{}-{index}", self.inode));
                let hook = match Hook::adopt(pins, &name, Place::Interface(index)) {
                    Some(hook) => hook,
                    None => Hook::keep(tcx_link(index, program)?, pins, name)?,
                };
                Ok(Attached::Link(hook))
            }
            Some(EgressTier::Clsact) => {
                clsact::attach(program, index, manner.instance).map(|()| Attached::Filter)
            }
            None => Err("neither tcx nor clsact works on this kernel".into()),
        }
    }

    fn within<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, KernelError> + Send,
    ) -> Result<T, KernelError> {
        netns::within(self.handle.as_fd(), work)
            .unwrap_or_else(|error| Err(failed("enter", self.inode, &error)))
    }
}

/// A link at the head of an interface's egress, in the calling thread's network namespace.
pub(super) fn tcx_link(index: u32, program: &mut SchedClassifier) -> Result<FdLink, String> {
    let attach = TcAttach::Tcx { attach_type: TcAttachType::Egress, order: LinkOrder::first() };
    let id = program.attach(index, attach).map_err(|error| innermost(&error))?;
    let link = program.take_link(id).map_err(|error| innermost(&error))?;
    link.try_into().map_err(|error: aya::programs::links::LinkError| innermost(&error))
}

/// Something that was not done in a network namespace.
pub(super) fn failed(what: &'static str, inode: u64, error: &io::Error) -> KernelError {
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

/// Of an interface that is gone the kernel detached everything; only a pin is left.
fn drop_vanished(
    hooks: &mut BTreeMap<u32, Attached>,
    interfaces: &BTreeMap<u32, String>,
) -> Result<(), KernelError> {
    let mut vanished = hooks.extract_if(.., |index, _| !interfaces.contains_key(index)).collect();
    let unpinned = retain_failed(&mut vanished, |_, hook| match hook {
        Attached::Link(hook) => hook.detach(),
        Attached::Filter => Ok(()),
    });
    hooks.append(&mut vanished);
    unpinned
}

/// Does something about each, and keeps those for which it failed.
fn retain_failed(
    hooks: &mut BTreeMap<u32, Attached>,
    work: impl Fn(u32, &Attached) -> Result<(), KernelError>,
) -> Result<(), KernelError> {
    let mut result = Ok(());
    hooks.retain(|index, hook| match work(*index, hook) {
        Ok(()) => false,
        Err(error) => {
            if result.is_ok() {
                result = Err(error);
            }
            true
        }
    });
    result
}
