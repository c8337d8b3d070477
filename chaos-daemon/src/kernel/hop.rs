//! Hops: devices of ours in a network namespace, through which packets make a detour.
//!
//! What is sent into the entrance of the one waits in its `fq` until the time that our program there gives it, comes
//! out at the exit, and is sent by our program there to where it was. So nobody else's qdisc is touched. The other
//! saves the stack no work: what goes through it comes out with checksums that were computed, and our program at
//! its exit makes them wrong.
//!
//! The programs are filters on the devices and end with them; both live on when this process dies, so that what
//! waits still arrives.
//!
//! Where the kernel has no `fq`, packets wait in this process ([`Holder`]), and the entrance is a TAP device that is
//! the exit too. It ends with this process.
//!
//! All functions work in the calling thread's network namespace; `namespace` is its inode.

mod link;
mod queue;

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use aya::programs::{
    SchedClassifier, TcAttach, TcAttachType,
    tc::{NlOptions, TcHandle, qdisc_add_clsact},
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags};

use super::{
    HoldTier, Instance, clsact,
    error::innermost,
    holder::{HeldPackets, Holder},
    instance::HopEnd,
    interfaces,
    netlink::{backlog_and_drops, kind, qdiscs},
    object::{HopProgram, Object},
    side::Side,
    tap::Tap,
};
use link::{add_pair, delete, no_address, save_no_work, set_link};
use queue::{add_fq, add_qdisc};

/// Packets that a TAP device queues until this process reads them. Some kernels refuse twice as many.
const TAP_QUEUE: u32 = 0x4000;

/// What a hop is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// Packets wait.
    Wait,
    /// Checksums are computed and made wrong.
    Spoil,
}

impl Purpose {
    pub(super) const ALL: [Self; 2] = [Self::Wait, Self::Spoil];

    /// Entrance and exit.
    const fn ends(self) -> (HopEnd, HopEnd) {
        match self {
            Self::Wait => (HopEnd::Entrance, HopEnd::Exit),
            Self::Spoil => (HopEnd::SpoilerEntrance, HopEnd::SpoilerExit),
        }
    }
}

/// The hops of an instance, in all network namespaces.
pub(super) struct Hops {
    instance: Instance,
    /// Where packets wait.
    tier: HoldTier,
    /// What tells the programs of a hop that share our tables.
    tables: u32,
    holder: Holder,
    /// Packets lost in hops that are not there any more.
    lost: AtomicU64,
}

/// Whether an interface is one end of a hop, anybody's.
pub(super) fn is_hop(name: &str) -> bool {
    Instance::of_hop(name).is_some()
}

impl Hops {
    pub(super) const fn new(instance: Instance, tier: HoldTier, tables: u32) -> Self {
        Self { instance, tier, tables, holder: Holder::new(), lost: AtomicU64::new(0) }
    }

    /// What waits in this process, and what was lost there and in hops that are gone.
    pub(super) fn packets(&self) -> HeldPackets {
        let HeldPackets { waiting, lost } = self.holder.packets();
        HeldPackets { waiting, lost: lost + self.lost.load(Ordering::Relaxed) }
    }

    /// What waits in this namespace's own hop, and what was lost there for want of room.
    pub(super) fn packets_here(&self) -> io::Result<HeldPackets> {
        let entrance = self.instance.hop_index(HopEnd::Entrance);
        match self.tier {
            HoldTier::Fq => {
                let figures = qdiscs(entrance)?;
                let figures = figures.iter().map(backlog_and_drops);
                let (waiting, lost) = figures.max().unwrap_or_default();
                Ok(HeldPackets { waiting: waiting.into(), lost: lost.into() })
            }
            HoldTier::Tap => Ok(HeldPackets { waiting: 0, lost: interfaces::dropped(entrance)? }),
        }
    }

    /// Makes a hop, as far as it is not there.
    pub(super) fn open(
        &self,
        purpose: Purpose,
        namespace: u64,
        object: &mut Object,
    ) -> Result<(), String> {
        let said = |error: io::Error| format!("look for it: {error}");
        if self.is_open(purpose, namespace).map_err(said)? {
            if self.is_ours(purpose).map_err(said)? {
                return Ok(());
            }
            if !self.is_empty(purpose, namespace).map_err(said)? {
                let name = self.instance.hop_name(purpose.ends().0);
                return Err(format!(
                    "packets that an earlier process let wait are still behind {name}; try again when they have \
                     left, or delete the device, and they are lost"
                ));
            }
        }
        // One that is there is not whole, or its programs would look into tables that are not ours.
        self.close(purpose, namespace)
            .map_err(|error| format!("remove what is left of an earlier one: {error}"))?;
        let made = match (purpose, self.tier) {
            (Purpose::Wait, HoldTier::Tap) => self.make_tap(namespace, object),
            (Purpose::Wait, HoldTier::Fq) | (Purpose::Spoil, _) => self.make_pair(purpose, object),
        };
        if made.is_err()
            && let Err(error) = self.close(purpose, namespace)
        {
            tracing::warn!(%error, "half of a hop is left behind");
        }
        made
    }

    /// Whether a hop outlives this process.
    pub(super) fn is_lasting(&self, purpose: Purpose) -> bool {
        purpose == Purpose::Spoil || self.tier == HoldTier::Fq
    }

    /// Whether a hop is there and passes packets on.
    pub(super) fn is_open(&self, purpose: Purpose, namespace: u64) -> io::Result<bool> {
        let (from, to) = purpose.ends();
        let entrance = self.instance.hop_index(from);
        if !interfaces::is_up(entrance)? {
            return Ok(false);
        }
        let kinds: Vec<String> = qdiscs(entrance)?.iter().filter_map(kind).collect();
        let has = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
        let is_whole = match (purpose, self.tier) {
            (Purpose::Wait, HoldTier::Tap) => self.holder.has(namespace),
            (Purpose::Wait, HoldTier::Fq) => {
                has("fq") && interfaces::is_up(self.instance.hop_index(to))?
            }
            (Purpose::Spoil, _) => interfaces::is_up(self.instance.hop_index(to))?,
        };
        Ok(has("clsact") && is_whole)
    }

    /// Whether the programs of a hop that is there use our tables: those of another build, or of a run whose process
    /// had the same id, do not.
    pub(super) fn is_ours(&self, purpose: Purpose) -> io::Result<bool> {
        let (from, to) = purpose.ends();
        let (end, side) = match purpose {
            Purpose::Wait => (from, Side::Out),
            Purpose::Spoil => (to, Side::In),
        };
        let filters = clsact::filters(self.instance.hop_index(end), side)?;
        Ok(filters.iter().any(|(_, handle)| *handle == self.tables))
    }

    /// Whether nothing is in a hop.
    pub(super) fn is_empty(&self, purpose: Purpose, namespace: u64) -> io::Result<bool> {
        if purpose == Purpose::Wait && !self.holder.is_empty(namespace)? {
            return Ok(false);
        }
        let there = qdiscs(self.instance.hop_index(purpose.ends().0))?;
        Ok(there.iter().all(|qdisc| backlog_and_drops(qdisc).0 == 0))
    }

    /// Whether an earlier process left a hop in which packets wait.
    pub(super) fn has_left(&self, purpose: Purpose, namespace: u64) -> io::Result<bool> {
        Ok(self.is_lasting(purpose)
            && self.is_open(purpose, namespace)?
            && !self.is_empty(purpose, namespace)?)
    }

    /// Removes a hop; what still waits is lost. Nothing there is no error.
    pub(super) fn close(&self, purpose: Purpose, namespace: u64) -> io::Result<()> {
        if purpose == Purpose::Wait {
            let lost = self.packets_here().map_or(0, |here| here.lost + here.waiting);
            self.lost.fetch_add(lost, Ordering::Relaxed);
            self.holder.remove(namespace);
        }
        delete(self.instance.hop_index(purpose.ends().0))
    }

    /// A device through which packets come to this process, and back.
    fn make_tap(&self, namespace: u64, object: &mut Object) -> Result<(), String> {
        let (end, _) = Purpose::Wait.ends();
        let (index, name) = (self.instance.hop_index(end), self.instance.hop_name(end));
        let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let tap = Tap::make(index, &name).map_err(said("make a TAP device"))?;
        set_link(index, vec![LinkAttribute::TxQueueLen(TAP_QUEUE)], None)
            .map_err(said("give it a long queue"))?;
        // Where there is no IPv6, there is nothing to be kept from giving itself an address.
        let _ = set_link(index, vec![no_address()], None);
        // The one that it would get might hold packets for reasons of its own.
        add_qdisc(index, "noqueue", None).map_err(said("add qdisc noqueue"))?;
        qdisc_add_clsact(index).map_err(|error| format!("add clsact: {}", innermost(&error)))?;
        self.attach(object.hop(HopProgram::EnterTap)?, index, TcAttachType::Egress)?;
        self.attach(object.hop(HopProgram::LeaveTap)?, index, TcAttachType::Ingress)?;
        self.holder.add(namespace, tap).map_err(said("hold what is sent into it"))?;
        set_link(index, Vec::new(), Some(LinkFlags::Up)).map_err(said("set it up"))
    }

    /// A pair of devices, with what makes packets wait or be spoilt in between.
    fn make_pair(&self, purpose: Purpose, object: &mut Object) -> Result<(), String> {
        let (instance, (from, to)) = (self.instance, purpose.ends());
        let (entrance, exit) = (instance.hop_index(from), instance.hop_index(to));
        let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        add_pair(instance, from, to).map_err(said("make a veth pair"))?;
        for index in [entrance, exit] {
            // Where there is no IPv6, there is nothing to be kept from giving itself an address.
            let _ = set_link(index, vec![no_address()], None);
            qdisc_add_clsact(index)
                .map_err(|error| format!("add clsact: {}", innermost(&error)))?;
        }
        match purpose {
            Purpose::Wait => {
                // First: without it no program need be loaded.
                add_fq(entrance).map_err(said("add qdisc fq"))?;
                self.attach(object.hop(HopProgram::Enter)?, entrance, TcAttachType::Egress)?;
                self.attach(object.hop(HopProgram::Leave)?, exit, TcAttachType::Ingress)?;
            }
            Purpose::Spoil => {
                self.attach(object.hop(HopProgram::Spoil)?, exit, TcAttachType::Ingress)?;
                save_no_work(&instance.hop_name(from))
                    .map_err(said("turn checksum offload off"))?;
            }
        }
        for index in [exit, entrance] {
            set_link(index, Vec::new(), Some(LinkFlags::Up)).map_err(said("set it up"))?;
        }
        Ok(())
    }

    fn attach(
        &self,
        program: &mut SchedClassifier,
        index: u32,
        hook: TcAttachType,
    ) -> Result<(), String> {
        let handle = TcHandle::new((self.tables >> 16) as u16, self.tables as u16);
        let options = NlOptions { priority: 1, handle, classid: None };
        let attach = TcAttach::Netlink { parent: hook.into(), options };
        let link = program.attach(index, attach).and_then(|id| program.take_link(id));
        let link = link.map_err(|error| format!("add filter: {}", innermost(&error)))?;
        // It goes with its device.
        std::mem::forget(link);
        Ok(())
    }
}

/// Removes the hops of some instances.
pub(super) fn sweep(is_doomed: impl Fn(Instance, Purpose) -> bool) -> io::Result<()> {
    let names = interfaces::list()?.into_values();
    for owner in names.filter_map(|name| Instance::of_hop(&name)) {
        for purpose in Purpose::ALL.into_iter().filter(|purpose| is_doomed(owner, *purpose)) {
            delete(owner.hop_index(purpose.ends().0))?;
        }
    }
    Ok(())
}
