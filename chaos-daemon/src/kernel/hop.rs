//! The hop: a pair of devices of ours in a network namespace, in which packets wait.
//!
//! What is sent into its entrance waits in the entrance's `fq` until the time that our program there gives it,
//! comes out at the exit, and is sent by our program there to where it was. So nobody else's qdisc is touched.
//! The programs are filters on the devices and end with them; both live on when this process dies, so that what
//! waits still arrives. The loopback loses what was on another device: it gets an `fq` of ours for as long as it
//! is needed, if it has no qdisc.
//!
//! All functions work in the calling thread's network namespace.

use std::io;

use aya::programs::{
    SchedClassifier, TcAttach, TcAttachType,
    tc::{NlOptions, TcHandle, qdisc_add_clsact},
};
use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
    tc::{TcAttribute, TcHandle as NlHandle, TcMessage, TcOption},
};

use super::{
    Instance,
    error::innermost,
    interfaces,
    netlink::{absent_is_fine, backlog, kind, qdiscs, request},
    object::{HopProgram, Object},
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

/// Whether the loopback holds packets too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loopback {
    /// It has our `fq`.
    Holds,
    /// It has a qdisc of somebody else's.
    Taken,
}

/// Whether an interface is one end of a hop, anybody's.
pub(super) fn is_hop(name: &str) -> bool {
    Instance::of_hop(name).is_some()
}

/// Makes the hop, as far as it is not there.
pub(super) fn open(instance: Instance, object: &mut Object) -> Result<(), String> {
    if is_open(instance).map_err(|error| format!("look for it: {error}"))? {
        return Ok(());
    }
    // One that is there is not whole.
    close(instance).map_err(|error| format!("remove what is left of an earlier one: {error}"))?;
    let made = make(instance, object);
    if made.is_err()
        && let Err(error) = close(instance)
    {
        tracing::warn!(%error, "half of a hop is left behind");
    }
    made
}

fn make(instance: Instance, object: &mut Object) -> Result<(), String> {
    let (entrance, exit) = (instance.entrance(), instance.exit());
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    add_pair(instance).map_err(said("make a veth pair"))?;
    for index in [entrance, exit] {
        // Where there is no IPv6, there is nothing to be kept from giving itself an address.
        let _ = set_link(index, vec![no_address()], None);
        qdisc_add_clsact(index).map_err(|error| format!("add clsact: {}", innermost(&error)))?;
    }
    attach(object.hop(HopProgram::Enter)?, entrance, TcAttachType::Egress)?;
    attach(object.hop(HopProgram::Leave)?, exit, TcAttachType::Ingress)?;
    add_fq(entrance, NlHandle::UNSPEC).map_err(said("add qdisc fq"))?;
    for index in [exit, entrance] {
        set_link(index, Vec::new(), Some(LinkFlags::Up)).map_err(said("set it up"))?;
    }
    Ok(())
}

/// Whether the hop is there and passes packets on.
pub(super) fn is_open(instance: Instance) -> io::Result<bool> {
    for index in [instance.entrance(), instance.exit()] {
        if !interfaces::is_up(index)? {
            return Ok(false);
        }
    }
    let kinds: Vec<String> = qdiscs(instance.entrance())?.iter().filter_map(kind).collect();
    Ok(["fq", "clsact"].iter().all(|wanted| kinds.iter().any(|kind| kind == wanted)))
}

/// Whether nothing waits.
pub(super) fn is_empty(instance: Instance) -> io::Result<bool> {
    let waiting = |index| {
        let there = qdiscs(index)?;
        Ok::<_, io::Error>(there.iter().map(backlog).max().unwrap_or(0))
    };
    let loopback = if has_loopback()? { waiting(LOOPBACK)? } else { 0 };
    Ok(waiting(instance.entrance())? == 0 && loopback == 0)
}

/// Removes the hop; what still waits is lost. Nothing there is no error.
pub(super) fn close(instance: Instance) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = instance.entrance();
    absent_is_fine(request(RouteNetlinkMessage::DelLink(link), NLM_F_ACK))
}

/// Removes the hops of some instances, and the loopback's `fq` if none is left.
pub(super) fn sweep(is_doomed: impl Fn(Instance) -> bool) -> io::Result<()> {
    let hops = || {
        let names = interfaces::list()?.into_values();
        Ok::<_, io::Error>(names.filter_map(|name| Instance::of_hop(&name)).collect::<Vec<_>>())
    };
    for owner in hops()?.into_iter().filter(|owner| is_doomed(*owner)) {
        close(owner)?;
    }
    if hops()?.is_empty() { release_loopback() } else { Ok(()) }
}

/// Lets the loopback hold packets, if it can.
pub(super) fn take_loopback() -> io::Result<Loopback> {
    if has_loopback()? {
        return Ok(Loopback::Holds);
    }
    match add_fq(LOOPBACK, LOOPBACK_HANDLE) {
        Ok(()) => Ok(Loopback::Holds),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Loopback::Taken),
        Err(error) => Err(error),
    }
}

/// Whether the loopback has our `fq`.
fn has_loopback() -> io::Result<bool> {
    Ok(qdiscs(LOOPBACK)?.iter().any(|qdisc| qdisc.header.handle == LOOPBACK_HANDLE))
}

/// Lets the loopback be what it was, unless somebody else of ours has a hop here.
pub(super) fn leave_loopback(instance: Instance) -> io::Result<()> {
    let others = interfaces::list()?.into_values();
    let mut others = others.filter_map(|name| Instance::of_hop(&name));
    if others.any(|owner| owner != instance) { Ok(()) } else { release_loopback() }
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

fn add_pair(instance: Instance) -> io::Result<()> {
    let end = |index, name| {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.attributes = vec![LinkAttribute::IfName(name), LinkAttribute::Mtu(MTU)];
        link
    };
    let exit = end(instance.exit(), instance.hop_name('b'));
    let mut pair = end(instance.entrance(), instance.hop_name('a'));
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(exit))),
    ]));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request(RouteNetlinkMessage::NewLink(pair), flags).map(drop)
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
    let mut message = TcMessage::with_index(index as i32);
    message.header.parent = ROOT;
    message.header.handle = handle;
    message.attributes = vec![
        TcAttribute::Kind("fq".into()),
        TcAttribute::Options(vec![
            number(PLIMIT, LIMIT),
            number(FLOW_PLIMIT, LIMIT),
            number(RATE_ENABLE, 0),
            number(ORPHAN_MASK, LINES - 1),
            number(HORIZON, HORIZON_US),
            // What is later than that leaves then.
            TcOption::Other(DefaultNla::new(HORIZON_DROP, vec![0])),
        ]),
    ];
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
