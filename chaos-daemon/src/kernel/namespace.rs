//! One network namespace with hooks of ours: on every interface, and on those that come.

mod hooks;
mod hops;

pub(super) use hooks::tcx_link;

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::SchedClassifier;

use super::{
    EgressTier, Instance, KernelError, Pins, clsact,
    hook::Hook,
    hop::{self, Hops, Purpose},
    interfaces::{self, Heard, Watch},
    link::Place,
    need::Needs,
    object::Object,
    side::Side,
};
use crate::netns;
use hooks::{Attached, Hooks, Outcome, drop_vanished, retain_failed, torn};
use hops::Hop;

/// How hooks are attached, everywhere.
pub(super) struct Manner {
    pub(super) tier: Option<EgressTier>,
    pub(super) instance: Instance,
    pub(super) pins: Option<Pins>,
    pub(super) hops: Hops,
}

/// A network namespace with hooks of ours.
pub(super) struct Namespace {
    inode: u64,
    handle: OwnedFd,
    watch: Watch,
    /// By interface and side.
    hooks: Hooks,
    /// Ids of the targets whose processes are in it.
    pub(super) users: HashSet<u64>,
    /// By what they are for.
    hops: BTreeMap<Purpose, Hop>,
    /// Its interfaces may not all be attached.
    is_dirty: bool,
    /// A hook that was attached is not there any more, and its interface is.
    is_torn: bool,
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
            hops: BTreeMap::new(),
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

    pub(super) fn has_hook(&self, interface: u32, side: Side) -> bool {
        self.hooks.contains_key(&(interface, side))
    }

    /// Whether nobody needs it, and nothing of ours is in it.
    pub(super) fn is_idle(&self) -> bool {
        self.users.is_empty() && self.hooks.is_empty() && self.hops.is_empty()
    }

    /// The hooks that are links.
    pub(super) fn links(&self) -> impl Iterator<Item = &Hook> {
        self.hooks.values().filter_map(|hook| match hook {
            Attached::Link(hook) => Some(hook),
            Attached::Filter => None,
        })
    }

    /// Whether there is a hook of this process, or one that an earlier process of the same name left.
    pub(super) fn has_left_hooks(&self, manner: &Manner, side: Side) -> Result<bool, KernelError> {
        if self.hooks.keys().any(|(_, there)| *there == side) {
            return Ok(true);
        }
        match (manner.tier, &manner.pins) {
            (Some(EgressTier::Tcx), Some(pins)) => {
                Ok(!pins.names(&format!("{}{}-", side.pin(), self.inode)).is_empty())
            }
            (Some(EgressTier::Clsact), _) => self.within(|| {
                let mut all = interfaces::list()
                    .map_err(|error| failed("list the interfaces of", self.inode, &error))?
                    .into_keys();
                all.try_fold(false, |any, index| {
                    Ok(any | clsact::is_attached(index, side, manner.instance)?)
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
        let (hooks, hops) = (&self.hooks, &self.hops);
        let torn = self.within(|| {
            let mut open = hops.iter().filter(|(_, hop)| **hop == Hop::Open);
            let is_torn = torn(hooks, manner.instance).and_then(|is_torn| {
                open.try_fold(is_torn, |is_torn, (purpose, _)| {
                    Ok(is_torn | !manner.hops.is_open(*purpose, self.inode)?)
                })
            });
            is_torn.map_err(|error| failed("look for our hooks in", self.inode, &error))
        })?;
        self.is_torn = torn;
        Ok(())
    }

    /// Attaches to the interfaces that lack a hook. Does nothing if there was no word of any, and no side is needed
    /// that has none.
    pub(super) fn attach_missing(
        &mut self,
        manner: &Manner,
        needs: &Needs,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        let is_new = |side: &Side| {
            needs.contains(&(*side).into()) && !self.hooks.keys().any(|(_, there)| there == side)
        };
        if !self.is_dirty && !Side::BOTH.iter().any(is_new) {
            return Ok(());
        }
        let mut hooks = std::mem::take(&mut self.hooks);
        let attached = self.within(|| {
            let interfaces = interfaces::list()
                .map_err(|error| failed("list the interfaces of", self.inode, &error))?;
            let sides = Side::BOTH.into_iter().filter(|side| needs.contains(&(*side).into()));
            let attached =
                sides.map(|side| self.attach_all(&mut hooks, &interfaces, manner, side, object));
            let attached = attached.fold(Ok(()), Result::and);
            drop_vanished(&mut hooks, &interfaces).and(attached)
        });
        self.hooks = hooks;
        self.is_dirty = attached.is_err();
        attached
    }

    /// Detaches the hooks that nobody needs. What could not be detached stays known, and is tried again.
    pub(super) fn detach_unneeded(
        &mut self,
        manner: &Manner,
        needs: &Needs,
    ) -> Result<(), KernelError> {
        if self.hooks.keys().all(|(_, side)| needs.contains(&(*side).into())) {
            return Ok(());
        }
        // Whoever comes back before all is detached finds out what is missing.
        self.is_dirty = true;
        let mut hooks = std::mem::take(&mut self.hooks);
        let detached = self.within(|| {
            retain_failed(&mut hooks, |(index, side), hook| match hook {
                _ if needs.contains(&side.into()) => Ok(Outcome::Stays),
                Attached::Link(hook) => hook.detach().map(|()| Outcome::IsGone),
                Attached::Filter => clsact::detach(index, side, manner.instance)
                    .map(|()| Outcome::IsGone)
                    .map_err(|error| KernelError::Hook {
                        what: "detach from",
                        place: format!("interface {index}"),
                        reason: error.to_string(),
                    }),
            })
        });
        self.hooks = hooks;
        detached
    }

    /// Runs in the namespace. The kernel takes some 10 ms for each link, so those come first by which most traffic goes:
    /// the loopback later, and what is down, such as the device that every namespace has of a tunnel's module, last.
    fn attach_all(
        &self,
        hooks: &mut Hooks,
        interfaces: &BTreeMap<u32, String>,
        manner: &Manner,
        side: Side,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        let program = object.on_interface(side)?;
        let is_missing = |(index, name): &(&u32, &String)| {
            !hooks.contains_key(&(**index, side)) && !hop::is_hop(name)
        };
        let mut missing: Vec<_> = interfaces.iter().filter(is_missing).collect();
        let is_down = |index| !interfaces::is_up(index).unwrap_or(true);
        missing.sort_by_cached_key(|(index, name)| (is_down(**index), *name == "lo"));
        let mut result = Ok(());
        for (index, name) in missing {
            match self.attach(*index, side, manner, program) {
                Ok(hook) => drop(hooks.insert((*index, side), hook)),
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
        side: Side,
        manner: &Manner,
        program: &mut SchedClassifier,
    ) -> Result<Attached, String> {
        match manner.tier {
            Some(EgressTier::Tcx) => {
                let pins = manner.pins.as_ref();
                let name = format!("{}{}-{index}", side.pin(), self.inode);
                let hook = match Hook::adopt(pins, &name, Place::Interface(index)) {
                    Some(hook) => hook,
                    None => Hook::keep(tcx_link(index, side, program)?, pins, name)?,
                };
                Ok(Attached::Link(hook))
            }
            Some(EgressTier::Clsact) => {
                clsact::attach(program, index, side, manner.instance).map(|()| Attached::Filter)
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

/// Something that was not done in a network namespace.
pub(super) fn failed(what: &'static str, inode: u64, error: &io::Error) -> KernelError {
    let place = format!("network namespace {inode}");
    KernelError::Hook { what, place, reason: error.to_string() }
}
