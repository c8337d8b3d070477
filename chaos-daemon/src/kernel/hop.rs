//! Hops: devices of ours in a network namespace, through which packets make a detour.
//!
//! What is sent into the entrance of the one waits in its `fq` until the time that our program there gives it, comes
//! out at the exit, and is sent by our program there to where it was. So nobody else's qdisc is touched. The other
//! saves the stack no work: what goes through it comes out with checksums that were computed, and our program at
//! its exit makes them wrong.
//!
//! The programs are filters on the devices and end with them; both live on when this process dies, so that what
//! waits still arrives. The loopback loses what was on another device: it gets an `fq` of ours for as long as it
//! is needed, if it has no qdisc.
//!
//! Where the kernel has no `fq`, packets wait in this process ([`Holder`]), and the entrance is a TAP device that is
//! the exit too. It ends with this process.
//!
//! All functions work in the calling thread's network namespace; `namespace` is its inode.

use std::{io, os::fd::AsRawFd as _};

use aya::programs::{
    SchedClassifier, TcAttach, TcAttachType,
    tc::{NlOptions, TcHandle, qdisc_add_clsact},
};
use chaos_common::abi::LoopbackHold;
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
    tc::{TcAttribute, TcHandle as NlHandle, TcMessage, TcOption},
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{
    HoldTier, Instance,
    error::innermost,
    holder::{HeldPackets, Holder},
    instance::HopEnd,
    interfaces,
    netlink::{absent_is_fine, backlog, kind, qdiscs, request},
    object::{HopProgram, Object},
    tap::Tap,
};

/// The largest packet, with everything that a device saves the stack from cutting.
const MTU: u32 = 65_535;
/// Packets that may wait, in all and of one flow.
const LIMIT: u32 = 1_000_000;
/// Lines that packets of no socket are divided among.
const LINES: u32 = 0x1_0000;
/// How far ahead of now a packet may leave, in microseconds: more than the longest delay, as far as 32 bits go.
const HORIZON_US: u32 = 4_000_000_000;

/// Of the loopback, in every network namespace.
const LOOPBACK: u32 = 1;
/// Of our qdisc there; nobody else's is ever taken for it.
const LOOPBACK_HANDLE: NlHandle = NlHandle { major: 0x0C4A, minor: 0 };
const ROOT: NlHandle = NlHandle { major: 0xffff, minor: 0xffff };

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

/// Whether packets on the loopback are held too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loopback {
    /// By it or by the hop.
    Holds(LoopbackHold),
    /// They are not.
    Passes,
}

/// The hops of an instance, in all network namespaces.
pub(super) struct Hops {
    instance: Instance,
    /// Where packets wait.
    tier: HoldTier,
    holder: Holder,
}

/// Whether an interface is one end of a hop, anybody's.
pub(super) fn is_hop(name: &str) -> bool {
    Instance::of_hop(name).is_some()
}

impl Hops {
    pub(super) const fn new(instance: Instance, tier: HoldTier) -> Self {
        Self { instance, tier, holder: Holder::new() }
    }

    /// What waits in this process.
    pub(super) fn packets(&self) -> HeldPackets {
        self.holder.packets()
    }

    /// Makes a hop, as far as it is not there.
    pub(super) fn open(
        &self,
        purpose: Purpose,
        namespace: u64,
        object: &mut Object,
    ) -> Result<(), String> {
        let is_open = self.is_open(purpose, namespace);
        if is_open.map_err(|error| format!("look for it: {error}"))? {
            return Ok(());
        }
        // One that is there is not whole.
        self.close(purpose, namespace)
            .map_err(|error| format!("remove what is left of an earlier one: {error}"))?;
        let made = match (purpose, self.tier) {
            (Purpose::Wait, HoldTier::Tap) => self.make_tap(namespace, object),
            (Purpose::Wait, HoldTier::Fq) | (Purpose::Spoil, _) => {
                make_pair(purpose, self.instance, object)
            }
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

    /// Whether nothing is in a hop.
    pub(super) fn is_empty(&self, purpose: Purpose, namespace: u64) -> io::Result<bool> {
        if purpose == Purpose::Wait && !self.holder.is_empty(namespace)? {
            return Ok(false);
        }
        let waiting = |index| {
            let there = qdiscs(index)?;
            Ok::<_, io::Error>(there.iter().map(backlog).max().unwrap_or(0))
        };
        let on_loopback = purpose == Purpose::Wait && has_loopback()?;
        let loopback = if on_loopback { waiting(LOOPBACK)? } else { 0 };
        Ok(waiting(self.instance.hop_index(purpose.ends().0))? == 0 && loopback == 0)
    }

    /// Removes a hop; what still waits is lost. Nothing there is no error.
    pub(super) fn close(&self, purpose: Purpose, namespace: u64) -> io::Result<()> {
        if purpose == Purpose::Wait {
            self.holder.remove(namespace);
        }
        delete(self.instance.hop_index(purpose.ends().0))
    }

    /// Lets packets on the loopback be held, if that can be.
    pub(super) fn take_loopback(&self, purpose: Purpose) -> io::Result<Loopback> {
        match (purpose, self.tier) {
            (Purpose::Spoil, _) => Ok(Loopback::Passes),
            (Purpose::Wait, HoldTier::Tap) => Ok(Loopback::Holds(LoopbackHold::Hop)),
            (Purpose::Wait, HoldTier::Fq) => give_loopback_an_fq(),
        }
    }

    /// Lets the loopback be what it was, unless somebody else of ours has a hop here.
    pub(super) fn leave_loopback(&self) -> io::Result<()> {
        let others = interfaces::list()?.into_values();
        let mut others = others.filter_map(|name| Instance::of_hop(&name));
        if others.any(|owner| owner != self.instance) { Ok(()) } else { release_loopback() }
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
        add_qdisc(index, NlHandle::UNSPEC, "noqueue", None).map_err(said("add qdisc noqueue"))?;
        qdisc_add_clsact(index).map_err(|error| format!("add clsact: {}", innermost(&error)))?;
        attach(object.hop(HopProgram::EnterTap)?, index, TcAttachType::Egress)?;
        attach(object.hop(HopProgram::LeaveTap)?, index, TcAttachType::Ingress)?;
        self.holder.add(namespace, tap).map_err(said("hold what is sent into it"))?;
        set_link(index, Vec::new(), Some(LinkFlags::Up)).map_err(said("set it up"))
    }
}

fn make_pair(purpose: Purpose, instance: Instance, object: &mut Object) -> Result<(), String> {
    let (from, to) = purpose.ends();
    let (entrance, exit) = (instance.hop_index(from), instance.hop_index(to));
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    add_pair(instance, from, to).map_err(said("make a veth pair"))?;
    for index in [entrance, exit] {
        // Where there is no IPv6, there is nothing to be kept from giving itself an address.
        let _ = set_link(index, vec![no_address()], None);
        qdisc_add_clsact(index).map_err(|error| format!("add clsact: {}", innermost(&error)))?;
    }
    match purpose {
        Purpose::Wait => {
            // First: without it no program need be loaded.
            add_fq(entrance, NlHandle::UNSPEC).map_err(said("add qdisc fq"))?;
            attach(object.hop(HopProgram::Enter)?, entrance, TcAttachType::Egress)?;
            attach(object.hop(HopProgram::Leave)?, exit, TcAttachType::Ingress)?;
        }
        Purpose::Spoil => {
            attach(object.hop(HopProgram::Spoil)?, exit, TcAttachType::Ingress)?;
            save_no_work(&instance.hop_name(from)).map_err(said("turn checksum offload off"))?;
        }
    }
    for index in [exit, entrance] {
        set_link(index, Vec::new(), Some(LinkFlags::Up)).map_err(said("set it up"))?;
    }
    Ok(())
}

/// Removes an interface. Nothing there is no error.
fn delete(index: u32) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    absent_is_fine(request(RouteNetlinkMessage::DelLink(link), NLM_F_ACK))
}

/// Removes the hops of some instances, and the loopback's `fq` if none is left.
pub(super) fn sweep(is_doomed: impl Fn(Instance) -> bool) -> io::Result<()> {
    let hops = || {
        let names = interfaces::list()?.into_values();
        Ok::<_, io::Error>(names.filter_map(|name| Instance::of_hop(&name)).collect::<Vec<_>>())
    };
    for owner in hops()?.into_iter().filter(|owner| is_doomed(*owner)) {
        for purpose in Purpose::ALL {
            delete(owner.hop_index(purpose.ends().0))?;
        }
    }
    if hops()?.is_empty() { release_loopback() } else { Ok(()) }
}

/// Lets the loopback hold packets by itself, unless somebody else gave it a qdisc.
fn give_loopback_an_fq() -> io::Result<Loopback> {
    let holds = Loopback::Holds(LoopbackHold::Itself);
    if has_loopback()? {
        return Ok(holds);
    }
    match add_fq(LOOPBACK, LOOPBACK_HANDLE) {
        Ok(()) => Ok(holds),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Loopback::Passes),
        Err(error) => Err(error),
    }
}

/// Whether the loopback has our `fq`.
fn has_loopback() -> io::Result<bool> {
    Ok(qdiscs(LOOPBACK)?.iter().any(|qdisc| qdisc.header.handle == LOOPBACK_HANDLE))
}

fn release_loopback() -> io::Result<()> {
    if !has_loopback()? {
        return Ok(());
    }
    let mut message = TcMessage::with_index(LOOPBACK as i32);
    message.header.parent = ROOT;
    message.header.handle = LOOPBACK_HANDLE;
    absent_is_fine(request(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_ACK))
}

fn add_pair(instance: Instance, from: HopEnd, to: HopEnd) -> io::Result<()> {
    let end = |end| {
        let mut link = LinkMessage::default();
        link.header.index = instance.hop_index(end);
        let name = LinkAttribute::IfName(instance.hop_name(end));
        link.attributes = vec![name, LinkAttribute::Mtu(MTU)];
        link
    };
    let (mut pair, exit) = (end(from), end(to));
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(exit))),
    ]));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request(RouteNetlinkMessage::NewLink(pair), flags).map(drop)
}

/// Lets the stack compute checksums before a device has a packet, which for that has to be one packet.
fn save_no_work(name: &str) -> io::Result<()> {
    /// `ETHTOOL_STXCSUM` of `linux/ethtool.h`.
    const SET_TX_CHECKSUM: u32 = 0x17;

    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }

    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = Value { command: SET_TX_CHECKSUM, data: 0 };
    // SAFETY: all zeroes is an empty name and no value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the kernel reads a name that ends with a zero, and a value that outlives the call.
    unsafe { ethtool(socket.as_raw_fd(), &raw mut request) }?;
    Ok(())
}

nix::ioctl_readwrite_bad! {
    /// What `ethtool` asks of a device.
    ethtool, libc::SIOCETHTOOL, libc::ifreq
}

/// It gives itself no address, so nothing is sent through it but what we send.
fn no_address() -> LinkAttribute {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])
}

fn set_link(
    index: u32,
    attributes: Vec<LinkAttribute>,
    flags: Option<LinkFlags>,
) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    if let Some(flags) = flags {
        link.header.flags = flags;
        link.header.change_mask = flags;
    }
    link.attributes = attributes;
    request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK).map(drop)
}

/// An `fq` that holds a million packets for an hour and is not asked by sockets for their own pace.
fn add_fq(index: u32, handle: NlHandle) -> io::Result<()> {
    /// `TCA_FQ_…` of `linux/pkt_sched.h`.
    const PLIMIT: u16 = 1;
    const FLOW_PLIMIT: u16 = 2;
    const RATE_ENABLE: u16 = 5;
    const ORPHAN_MASK: u16 = 10;
    const HORIZON: u16 = 14;
    const HORIZON_DROP: u16 = 15;
    let number =
        |kind, number: u32| TcOption::Other(DefaultNla::new(kind, number.to_ne_bytes().into()));
    let options = vec![
        number(PLIMIT, LIMIT),
        number(FLOW_PLIMIT, LIMIT),
        number(RATE_ENABLE, 0),
        number(ORPHAN_MASK, LINES - 1),
        number(HORIZON, HORIZON_US),
        // What is later than that leaves then.
        TcOption::Other(DefaultNla::new(HORIZON_DROP, vec![0])),
    ];
    add_qdisc(index, handle, "fq", Some(options))
}

/// Gives an interface a qdisc that it has not.
fn add_qdisc(
    index: u32,
    handle: NlHandle,
    kind: &str,
    options: Option<Vec<TcOption>>,
) -> io::Result<()> {
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = ROOT;
    message.header.handle = handle;
    message.attributes = vec![TcAttribute::Kind(kind.into())];
    message.attributes.extend(options.map(TcAttribute::Options));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request(RouteNetlinkMessage::NewQueueDiscipline(message), flags).map(drop)
}

fn attach(program: &mut SchedClassifier, index: u32, hook: TcAttachType) -> Result<(), String> {
    let options = NlOptions { priority: 1, handle: TcHandle::new(0, 1), classid: None };
    let attach = TcAttach::Netlink { parent: hook.into(), options };
    let link = program.attach(index, attach).and_then(|id| program.take_link(id));
    let link = link.map_err(|error| format!("add filter: {}", innermost(&error)))?;
    // It goes with its device.
    std::mem::forget(link);
    Ok(())
}
