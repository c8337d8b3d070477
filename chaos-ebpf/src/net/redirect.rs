//! Calls that go to another end than they name, and what comes back from there: as if it came from whom they name.
//!
//! A socket that is connected stays so when the rule's time is over. From then on what it sends is answered as where nobody
//! listens, whoever is still alive: then whoever has it connects again.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_addr},
    helpers::generated::bpf_get_socket_cookie,
    macros::map,
    maps::LruHashMap,
    programs::SockAddrContext,
};
use chaos_common::abi::{
    FAMILY_V4, MAX_RULES, NetRule, Operation, Redirect, Redirected, RedirectedKey,
};

use super::{
    attempt::{ALLOWED, Call, is_mapped, join, read},
    tables::RULES,
};
use crate::{gate, packet::Packet};

/// What went elsewhere, and where it was to go.
#[map]
pub(super) static REDIRECTED: LruHashMap<RedirectedKey, Redirected> =
    LruHashMap::with_max_entries(16_384, 0);

/// `ECONNREFUSED`, the same on every architecture that runs eBPF.
const REFUSED: u32 = 111;

/// Sends a call where a rule wants it. An errno, if that is nowhere.
#[inline(always)]
pub(super) fn turn(context: *mut bpf_sock_addr, its_family: u32, call: Call, id: u32) -> u32 {
    let Some(rule) = RULES.get(id % MAX_RULES) else { return 0 };
    let family = call.family();
    let (address, port) = end(rule, family);
    if port == 0 {
        return REFUSED;
    }
    let key = RedirectedKey { cookie: cookie(context), address, port: port.into(), family };
    let origin = Redirected {
        address: call.address,
        port: call.port().into(),
        rule: id,
        is_connected: u32::from(call.operation() == Operation::Connect as u32),
        reserved: 0,
    };
    // What is not known when it comes back would seem to be from a stranger.
    if REDIRECTED.insert(&key, &origin, 0).is_ok() {
        write(context, its_family, family, address, port);
    }
    0
}

/// Where a rule sends calls over a family.
#[inline(always)]
fn end(rule: &NetRule, family: u32) -> ([u64; 2], u16) {
    if family == FAMILY_V4 {
        Redirect::v4_of(&rule.parameters)
    } else {
        Redirect::v6_of(&rule.parameters)
    }
}

/// Whether a call goes where a rule would send it already. What a socket of IPv6 sends that is connected over IPv4 names
/// its end each time.
#[inline(always)]
pub(super) fn is_there(call: Call, rule: &NetRule) -> bool {
    (call.address, call.port()) == end(rule, call.family())
}

/// What a socket is told of whom something came from, or whom it is connected to.
#[inline(always)]
pub fn come_back<const FAMILY: u32>(ctx: &SockAddrContext) -> i32 {
    let context = ctx.sock_addr;
    let (_, port, words) = read(context, FAMILY);
    let (family, words) = if FAMILY != FAMILY_V4 && is_mapped(&words) {
        (FAMILY_V4, [words[3], 0, 0, 0])
    } else {
        (FAMILY, words)
    };
    let address = [join(words[0], words[1]), join(words[2], words[3])];
    let key = RedirectedKey { cookie: cookie(context), address, port: port.into(), family };
    // SAFETY: the value stays readable while the program runs.
    if let Some(origin) = unsafe { REDIRECTED.get(&key) } {
        write(context, FAMILY, family, origin.address, origin.port as u16);
    }
    ALLOWED
}

#[inline(always)]
fn cookie(context: *mut bpf_sock_addr) -> u64 {
    // SAFETY: the helper takes the context.
    unsafe { bpf_get_socket_cookie(context.cast()) }
}

/// Writes an end of a family into a call of the same, or of IPv6.
#[inline(always)]
fn write(context: *mut bpf_sock_addr, its: u32, family: u32, address: [u64; 2], port: u16) {
    let halves = |both: u64| {
        let [a, b, c, d, e, f, g, h] = both.to_ne_bytes();
        (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]))
    };
    let ((first, second), (third, last)) = (halves(address[0]), halves(address[1]));
    // SAFETY: the context is valid while the program runs. Volatile, since it may be written in words only.
    unsafe {
        (&raw mut (*context).user_port).write_volatile(port.to_be().into());
        if its == FAMILY_V4 {
            (&raw mut (*context).user_ip4).write_volatile(first);
        } else if family == FAMILY_V4 {
            (&raw mut (*context).user_ip6[3]).write_volatile(first);
        } else {
            (&raw mut (*context).user_ip6[0]).write_volatile(first);
            (&raw mut (*context).user_ip6[1]).write_volatile(second);
            (&raw mut (*context).user_ip6[2]).write_volatile(third);
            (&raw mut (*context).user_ip6[3]).write_volatile(last);
        }
    }
}

/// Whether a packet is of a socket that a rule has connected elsewhere, and whose time is over.
#[inline(always)]
pub(super) fn is_left(skb: *mut __sk_buff, id: u32, rule: &NetRule, packet: &Packet) -> bool {
    if packet.has_ports == 0 {
        return false;
    }
    let half = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&packet.remote[at..at + 8]);
        u64::from_ne_bytes(bytes)
    };
    let is_v4 = packet.family == FAMILY_V4;
    let key = RedirectedKey {
        // SAFETY: the helper takes the context, and returns 0 for what has no socket, as nothing else has.
        cookie: unsafe { bpf_get_socket_cookie(skb.cast()) },
        address: if is_v4 { [half(0) & V4_BYTES, 0] } else { [half(0), half(8)] },
        port: packet.remote_port.into(),
        family: packet.family,
    };
    // SAFETY: the value stays readable while the program runs.
    let origin = unsafe { REDIRECTED.get(&key) };
    origin.is_some_and(|origin| origin.rule == id && origin.is_connected != 0)
        && gate::is_over(&rule.gate)
}

/// Those of two words that are the first, in memory.
const V4_BYTES: u64 = u64::from_ne_bytes([255, 255, 255, 255, 0, 0, 0, 0]);
