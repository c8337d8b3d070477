//! One network namespace with hooks of ours: on every interface, and on those that come.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::programs::{LinkOrder, SchedClassifier, TcAttach, TcAttachType, links::FdLink};
use chaos_common::abi::LoopbackHold;

use super::{
    EgressTier, Instance, KernelError, Pins, clsact,
    error::innermost,
    hook::Hook,
    hop::{self, Hops, Loopback, Purpose},
    interfaces::{self, Heard, Watch},
    link::Place,
    object::Object,
};
use crate::netns;

/// A side of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Where packets leave it.
    Out,
    /// Where they come in.
    In,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Out, Self::In];

    /// What the names of pins of ours there begin with.
    pub(super) const fn pin(self) -> &'static str {
        match self {
            Self::Out => "out-",
            Self::In => "arrive-",
        }
    }
}

/// What is needed in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// Hooks where packets leave.
    pub(super) out: bool,
    /// Hooks where they come in.
    pub(super) incoming: bool,
    /// A hop where packets wait.
    pub(super) hold: bool,
    /// One that spoils checksums.
    pub(super) spoil: bool,
}

impl Needs {
    /// Whether a hop is needed.
    pub(super) const fn detour(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Wait => self.hold,
            Purpose::Spoil => self.spoil,
        }
    }

    const fn has(self, side: Side) -> bool {
        match side {
            Side::Out => self.out,
            Side::In => self.incoming,
        }
    }
}

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

/// A hop of ours in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hop {
    /// Packets may be sent into it, and on the loopback they can be held or not.
    Open(Loopback),
    /// Nothing is sent into it any more. Looked at so often, it had nothing that waits.
    Draining { empty: u32 },
}

/// How often a hop must be found empty: what just left may be on its last steps.
const SURELY_EMPTY: u32 = 2;

type Hooks = BTreeMap<(u32, Side), Attached>;

/// Our program on one side of an interface.
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
            let mut open = hops.iter().filter(|(_, hop)| matches!(hop, Hop::Open(_)));
            let is_torn = torn(hooks, manner.instance).and_then(|is_torn| {
                open.try_fold(is_torn, |is_torn, (purpose, _)| {
                    Ok(is_torn | !manner.hops.is_open(*purpose, self.inode)?)
                })
            });
            is_torn.map_err(|error| failed("look for our hooks in", self.inode, &error))
        })?;
        self.is_torn |= torn;
        Ok(())
    }

    /// Attaches to the interfaces that lack a hook. Does nothing if there was no word of any, and no side is needed
    /// that has none.
    pub(super) fn attach_missing(
        &mut self,
        manner: &Manner,
        needs: Needs,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        let is_new =
            |side: &Side| needs.has(*side) && !self.hooks.keys().any(|(_, there)| there == side);
        if !self.is_dirty && !Side::BOTH.iter().any(is_new) {
            return Ok(());
        }
        let mut hooks = std::mem::take(&mut self.hooks);
        let attached = self.within(|| {
            let interfaces = interfaces::list()
                .map_err(|error| failed("list the interfaces of", self.inode, &error))?;
            let sides = Side::BOTH.into_iter().filter(|side| needs.has(*side));
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
        needs: Needs,
    ) -> Result<(), KernelError> {
        if self.hooks.keys().all(|(_, side)| needs.has(*side)) {
            return Ok(());
        }
        // Whoever comes back before all is detached finds out what is missing.
        self.is_dirty = true;
        let mut hooks = std::mem::take(&mut self.hooks);
        let detached = self.within(|| {
            retain_failed(&mut hooks, |(index, side), hook| match hook {
                _ if needs.has(side) => Ok(Outcome::Stays),
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

    /// Whether there is a hop, in use or not.
    pub(super) fn has_hop(&self) -> bool {
        !self.hops.is_empty()
    }

    /// Whether a hop is in use.
    pub(super) fn has_open_hop(&self, purpose: Purpose) -> bool {
        matches!(self.hops.get(&purpose), Some(Hop::Open(_)))
    }

    /// Whether a hop is not in use any more and yet to be removed.
    pub(super) fn is_draining(&self) -> bool {
        self.hops.values().any(|hop| matches!(hop, Hop::Draining { .. }))
    }

    /// Whether packets on the loopback are held, and how.
    pub(super) fn loopback_hold(&self) -> Option<LoopbackHold> {
        match self.hops.get(&Purpose::Wait) {
            Some(Hop::Open(Loopback::Holds(hold))) => Some(*hold),
            Some(Hop::Open(Loopback::Passes) | Hop::Draining { .. }) | None => None,
        }
    }

    /// Makes a hop, if there is none.
    pub(super) fn open_hop(
        &mut self,
        purpose: Purpose,
        manner: &Manner,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        if self.has_open_hop(purpose) {
            return Ok(());
        }
        let loopback = self.within(|| {
            let opened = manner.hops.open(purpose, self.inode, object).and_then(|()| {
                let taken = manner.hops.take_loopback(purpose);
                taken.map_err(|error| format!("let the loopback hold: {error}"))
            });
            opened.map_err(|reason| KernelError::Hook {
                what: "make a detour for packets (hop) in",
                place: format!("network namespace {}", self.inode),
                reason,
            })
        })?;
        self.hops.insert(purpose, Hop::Open(loopback));
        Ok(())
    }

    /// Takes over a hop that an earlier process left. False if there is none, and one should be: those that end
    /// with their process are made anew.
    pub(super) fn adopt_hop(
        &mut self,
        purpose: Purpose,
        manner: &Manner,
    ) -> Result<bool, KernelError> {
        if self.has_open_hop(purpose) || !manner.hops.is_lasting(purpose) {
            return Ok(true);
        }
        let hops = &manner.hops;
        let found = self.within(|| {
            let found = hops.is_open(purpose, self.inode).and_then(|is_open| {
                if is_open { hops.take_loopback(purpose).map(Some) } else { Ok(None) }
            });
            found.map_err(|error| failed("look for our hop in", self.inode, &error))
        })?;
        if let Some(loopback) = found {
            self.hops.insert(purpose, Hop::Open(loopback));
        }
        Ok(found.is_some())
    }

    /// Nothing is sent into a hop any more.
    pub(super) fn stop_hop(&mut self, purpose: Purpose) {
        if self.has_open_hop(purpose) {
            self.hops.insert(purpose, Hop::Draining { empty: 0 });
        }
    }

    /// Removes the hops into which nothing is sent any more, once nothing is in them; or at once, if it must be.
    pub(super) fn drain_hops(&mut self, manner: &Manner, at_once: bool) -> Result<(), KernelError> {
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

    /// Runs in the namespace. The kernel takes some 10 ms for each link, and most traffic does not wait for
    /// the loopback's, so that is the last.
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
        missing.sort_by_key(|(_, name)| *name == "lo");
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
            if *purpose == Purpose::Wait {
                hops.leave_loopback()?;
            }
            hops.close(*purpose, inode)?;
            left.remove(purpose);
        } else {
            left.insert(*purpose, Hop::Draining { empty });
        }
    }
    Ok(left)
}

/// A link at the head of one side of an interface, in the calling thread's network namespace.
pub(super) fn tcx_link(
    index: u32,
    side: Side,
    program: &mut SchedClassifier,
) -> Result<FdLink, String> {
    let attach_type = match side {
        Side::Out => TcAttachType::Egress,
        Side::In => TcAttachType::Ingress,
    };
    let attach = TcAttach::Tcx { attach_type, order: LinkOrder::first() };
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
fn torn(hooks: &Hooks, instance: Instance) -> io::Result<bool> {
    let there = interfaces::list()?;
    for ((index, side), hook) in hooks.iter().filter(|((index, _), _)| there.contains_key(index)) {
        let is_there = match hook {
            Attached::Link(hook) => hook.is_at(Place::Interface(*index)),
            Attached::Filter => clsact::is_attached(*index, *side, instance)?,
        };
        if !is_there && interfaces::list()?.contains_key(index) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of an interface that is gone the kernel detached everything; only a pin is left.
fn drop_vanished(hooks: &mut Hooks, interfaces: &BTreeMap<u32, String>) -> Result<(), KernelError> {
    retain_failed(hooks, |(index, _), hook| match hook {
        _ if interfaces.contains_key(&index) => Ok(Outcome::Stays),
        Attached::Link(hook) => hook.detach().map(|()| Outcome::IsGone),
        Attached::Filter => Ok(Outcome::IsGone),
    })
}

/// What became of a hook.
enum Outcome {
    Stays,
    IsGone,
}

/// Does something about each hook, and keeps those that stay, or for which it failed.
fn retain_failed(
    hooks: &mut Hooks,
    work: impl Fn((u32, Side), &Attached) -> Result<Outcome, KernelError>,
) -> Result<(), KernelError> {
    let mut result = Ok(());
    hooks.retain(|place, hook| match work(*place, hook) {
        Ok(Outcome::IsGone) => false,
        Ok(Outcome::Stays) => true,
        Err(error) => {
            if result.is_ok() {
                result = Err(error);
            }
            true
        }
    });
    result
}
