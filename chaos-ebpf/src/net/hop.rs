//! Where packets wait: a private pair of devices in the namespace, whose entrance has an `fq` that holds what
//! has a departure time. What comes out at the other end goes back to where it was.
//!
//! The loopback drops what was on another device without a route, so what comes back to it is given one.
//!
//! Where the kernel has no `fq`, the entrance is the exit: a TAP device behind which the daemon holds packets. They
//! carry departure and way there as VLAN tags, and come back with their way as the one tag. When the daemon dies the
//! device is gone, and nothing waits any more.
//!
//! A second pair saves the stack nothing: there, checksums are computed and super-packets cut. What is to arrive with
//! a wrong checksum goes through it, and is spoilt at its exit.
//!
//! A copy waits, and the packet itself is eaten: with its socket at hand it would count against the little that
//! TCP lets be queued on one machine, and a delay would be a brake.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_INGRESS, BPF_F_NO_PREALLOC, BPF_NOEXIST,
        bpf_hdr_start_off::BPF_HDR_START_NET,
    },
    helpers::generated::{
        bpf_clone_redirect, bpf_ktime_get_ns, bpf_redirect, bpf_redirect_neigh, bpf_set_hash,
        bpf_set_hash_invalid, bpf_skb_change_head, bpf_skb_change_type,
        bpf_skb_load_bytes_relative, bpf_skb_store_bytes, bpf_skb_vlan_pop, bpf_skb_vlan_push,
    },
    macros::map,
    maps::{HashMap, PerCpuArray},
};
use chaos_common::abi::{Direction, Handover, LABEL_ETHERTYPE, Label, MAX_HELD_BYTES, Way, mix};

use super::{
    instance::{entrance, spoiler},
    kernel,
};
use crate::packet::Skb;

/// Number → way of a held packet; as many as there are numbers.
#[map]
pub static WAYS: HashMap<u32, Way> = HashMap::with_max_entries(0xffff, BPF_F_NO_PREALLOC);

/// One entry: what the program at the entrance has to know. Pinned: that program may be of an earlier daemon.
#[map]
pub static HANDOVER: PerCpuArray<Handover> = PerCpuArray::with_max_entries(1, 0);

/// One entry: how many packets there was no room for.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Index of the loopback in every network namespace.
pub const LOOPBACK: u32 = 1;
/// Places at which a way is looked for.
const TRIES: u32 = 8;
/// `ERANGE`: the packet is on a device without link headers.
const NO_LINK_HEADER: i64 = -34;
const LINK_HEADER: u32 = 14;
/// Bits of the second argument of [`net_way`].
const DIRECTION: u32 = 3;
const SPOILS: u32 = 2;
const JUDGED: u32 = 16;
/// What is for this host, or has just left it.
const PACKET_HOST: u32 = 0;

/// Whether a packet is on the loopback.
#[inline(always)]
pub fn is_loopback(skb: Skb) -> bool {
    let skb = skb.raw();
    // SAFETY: the context is valid while the program runs.
    unsafe { (*skb).ifindex == LOOPBACK }
}

/// Puts a copy of a packet where it waits in a line until its departure. False if there is no such place here: then it goes on at once.
#[inline(always)]
pub fn hold(
    packet: Skb,
    direction: Direction,
    (departure_ns, line): (u64, u32),
    spoils: bool,
) -> bool {
    let skb = packet.raw();
    // What is translated would not be known as that any more, when it comes back.
    let context = skb.cast_const().cast();
    if is_loopback(packet) && (!has_route_home(skb) || kernel::is_translated(context)) {
        return false;
    }
    let Some(way) = way_of(skb, direction, spoils) else { return false };
    let Some(handover) = HANDOVER.get_ptr_mut(0) else { return false };
    // SAFETY: nothing else on this CPU uses this entry until the copy is queued: that happens within the call.
    unsafe { *handover = Handover { departure_ns, way, line } };
    let is_sent = clone_to(skb, entrance());
    // SAFETY: as above.
    unsafe { *handover = Handover { departure_ns: 0, way: 0, line: 0 } };
    is_sent
}

/// Sends a copy of a packet through the hop that makes its checksum wrong. False if there is none here.
#[inline(always)]
pub fn spoil(skb: Skb, direction: Direction) -> bool {
    let skb = skb.raw();
    let Some(way) = way_of(skb, direction, true) else { return false };
    // The copy carries it. The packet itself goes nowhere, whatever comes of this.
    // SAFETY: as above; the field may be written in tc programs.
    unsafe { (*skb).tc_index = way };
    clone_to(skb, spoiler())
}

/// Lets the packet that this CPU is queueing wait in the `fq` of the entrance. The number of its way; `None` if it is
/// none of ours, or too much waits there.
#[inline(always)]
pub fn enter(skb: Skb) -> Option<u32> {
    let skb = skb.raw();
    let Handover { departure_ns, way, line } = handed_over()?;
    if kernel::backlog(skb.cast_const().cast()) >= MAX_HELD_BYTES {
        if let Some(lost) = LOST.get_ptr_mut(0) {
            // SAFETY: points to a map value of this type, of this CPU alone.
            unsafe { *lost += 1 };
        }
        return None;
    }
    // SAFETY: the context is valid while the program runs; the field may be written in tc programs.
    unsafe {
        (*skb).tstamp = departure_ns;
        // What is of class 7 an `fq` lets go at once before Linux 6.7, and since then puts others behind it.
        (*skb).priority = 0;
    }
    if line != 0 {
        // An `fq` tells lines apart by this, and holds what is behind in a line for what is before.
        // SAFETY: takes the context and a number.
        unsafe { bpf_set_hash(skb, line) };
    }
    Some(way)
}

/// Writes departure and way onto a packet that this CPU is queueing for user space. False if it is none of ours.
#[inline(always)]
pub fn label(skb: Skb) -> bool {
    let skb = skb.raw();
    let Some(Handover { departure_ns, way, .. }) = handed_over() else { return false };
    // SAFETY: takes no arguments.
    let horizon = unsafe { bpf_ktime_get_ns() } + Label::HORIZON_NS;
    let departure_ns = if departure_ns > horizon { horizon } else { departure_ns };
    let [way, high, low] = Label::new(departure_ns, way as u16).tags();
    let push = |tag| {
        // SAFETY: takes the context and numbers.
        unsafe { bpf_skb_vlan_push(skb, LABEL_ETHERTYPE.to_be(), tag) == 0 }
    };
    push(low) && push(high) && push(way)
}

/// Takes the way off a packet that comes back from user space, and puts it where [`way`] looks for it.
#[inline(always)]
pub fn unlabel(skb: Skb) -> bool {
    let skb = skb.raw();
    // SAFETY: the context is valid while the program runs; the field may be written in tc programs.
    unsafe {
        if (*skb).vlan_present == 0 {
            return false;
        }
        (*skb).tc_index = (*skb).vlan_tci;
        bpf_skb_vlan_pop(skb) == 0
    }
}

/// The way of a packet that has come out.
#[inline(always)]
pub fn way(skb: Skb) -> Option<Way> {
    let skb = skb.raw();
    // SAFETY: the context is valid while the program runs.
    let number = unsafe { (*skb).tc_index };
    // SAFETY: entries are not removed while a packet is on its way.
    unsafe { WAYS.get(&number) }.copied()
}

/// Lets a packet that has come out go on where it was.
#[inline(always)]
pub fn go_back(packet: Skb, way: &Way) -> i32 {
    let (interface, flags) = restore(packet, way);
    if interface == LOOPBACK {
        // By its address it is for another host than the device that it has come out of. And it goes out as new,
        // whichever way it went: it gets a route again, without which the loopback has nobody to give it to.
        // SAFETY: takes the context and numbers, and no parameters that would be read.
        return unsafe {
            bpf_skb_change_type(packet.raw(), PACKET_HOST);
            bpf_redirect_neigh(interface, core::ptr::null_mut(), 0, 0) as i32
        };
    }
    // SAFETY: takes two numbers.
    unsafe { bpf_redirect(interface, flags) as i32 }
}

/// Makes a packet that has come out what it was, but judged. Where it was: the interface, and the side of it as flags.
#[inline(always)]
pub fn restore(packet: Skb, way: &Way) -> (u32, u64) {
    let skb = packet.raw();
    let is_incoming = way.direction == Direction::In as u32;
    // SAFETY: the context is valid while the program runs; the fields may be written in tc programs.
    unsafe {
        (*skb).priority = way.priority;
        (*skb).mark = way.mark;
        // A time that is left would be taken for the one of its arrival.
        (*skb).tstamp = 0;
        bpf_set_hash_invalid(skb);
        (*skb).tc_index = way.judged;
    }
    (way.interface, if is_incoming { u64::from(BPF_F_INGRESS) } else { 0 })
}

/// What is handed over with the packet that this CPU is queueing, if one is.
#[inline(always)]
fn handed_over() -> Option<Handover> {
    let handover = HANDOVER.get(0)?;
    if handover.way == 0 { None } else { Some(*handover) }
}

/// Whether the kernel finds a route back to the loopback for a packet that is on it: it looks for one host that is
/// here, and for that by its address alone.
#[inline(always)]
fn has_route_home(skb: *mut __sk_buff) -> bool {
    const ETH_P_IP: u16 = 0x0800;
    const V4: (u32, u32) = (16, 4);
    const V6: (u32, u32) = (24, 16);
    let mut to = [0_u8; 16];
    // SAFETY: the context is valid while the program runs; the helper writes as many bytes as there are, or fails.
    unsafe {
        let is_v4 = (*skb).protocol as u16 == ETH_P_IP.to_be();
        let (at, length) = if is_v4 { V4 } else { V6 };
        let bytes = (&raw mut to).cast();
        if bpf_skb_load_bytes_relative(skb.cast(), at, bytes, length, BPF_HDR_START_NET) != 0 {
            return false;
        }
        if is_v4 {
            let is_broadcast = to[0] == 127 && to[1] & to[2] & to[3] == 255;
            let is_multicast = to[0] >= 224;
            !is_broadcast && !is_multicast
        } else {
            let is_link_local = to[0] == 0xfe && to[1] & 0xc0 == 0x80;
            let is_multicast = to[0] == 0xff;
            !is_link_local && !is_multicast
        }
    }
}

/// The number of the way that a packet would go; who comes first gives it.
#[inline(always)]
fn way_of(skb: *mut __sk_buff, direction: Direction, spoils: bool) -> Option<u32> {
    // SAFETY: the context is valid while the program runs.
    let (interface, priority, mark, judged) =
        unsafe { ((*skb).ifindex, (*skb).priority, (*skb).mark, (*skb).tc_index) };
    let turn = direction as u32 | u32::from(spoils) << SPOILS | judged << JUDGED;
    match net_way(interface, turn, priority, mark) {
        0 => None,
        number => Some(number),
    }
}

/// The number of a way, or 0. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_way(interface: u32, turn: u32, priority: u32, mark: u32) -> u32 {
    let way = Way {
        interface,
        direction: turn & DIRECTION,
        priority,
        spoils: turn >> SPOILS & 1,
        mark,
        judged: turn >> JUDGED,
    };
    let first = mix(u64::from(interface) << 32 | u64::from(priority), 0)
        ^ mix(u64::from(turn), u64::from(mark) + 1);
    for at in 0..TRIES {
        let number = 1 + (first as u32).wrapping_add(at) % 0xffff;
        // SAFETY: entries are not removed while there are packets.
        if let Some(there) = unsafe { WAYS.get(&number) } {
            if *there == way {
                return number;
            }
        } else if WAYS.insert(&number, &way, u64::from(BPF_NOEXIST)).is_ok() {
            return number;
        }
    }
    0
}

/// Queues a copy of a packet on another device. What the queue has no room for is lost there.
///
/// A tunnel's packets begin with the network header, and a hop is a device with link headers: the packet gets one,
/// which the tunnel takes off again when it comes back.
#[inline(always)]
fn clone_to(skb: *mut __sk_buff, interface: u32) -> bool {
    // SAFETY: the context is valid while the program runs; the bytes that are written were just added.
    unsafe {
        let status = bpf_clone_redirect(skb, interface, 0);
        if status != NO_LINK_HEADER {
            return status >= 0;
        }
        let protocol = (*skb).protocol as u16;
        if bpf_skb_change_head(skb, LINK_HEADER, 0) != 0 {
            return false;
        }
        let at = LINK_HEADER - size_of::<u16>() as u32;
        let (from, length) = ((&raw const protocol).cast(), size_of::<u16>() as u32);
        bpf_skb_store_bytes(skb, at, from, length, 0);
        bpf_clone_redirect(skb, interface, 0);
    }
    // Whatever came of it: with what is in front of it now, the packet cannot go on.
    true
}
