//! Calls that go to another end than they name, and what comes back from there: as if it came from whom they name.
//!
//! A socket that is connected stays so when the rule's time is over. From then on what it sends is answered as where nobody
//! listens, whoever is still alive: then whoever has it connects again.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_NO_PREALLOC, bpf_sock_addr},
    helpers::generated::bpf_get_socket_cookie,
    macros::map,
    maps::{HashMap, LruHashMap},
    programs::SockAddrContext,
};
use chaos_common::abi::{
    FAMILY_V4, MAX_CONNECTED, MAX_RULES, NetRule, Operation, Redirect, Redirected, RedirectedKey,
};

use super::{
    call::{ALLOWED, Call, is_mapped, join, read},
    tables::RULES,
};
use crate::gate;

/// What went elsewhere of sockets that name their ends, and where it was to go.
#[map]
pub(super) static REDIRECTED: LruHashMap<RedirectedKey, Redirected> =
    LruHashMap::with_max_entries(16_384, 0);

/// Sockets that are connected elsewhere, by their cookies, until they are closed.
#[map]
pub(super) static CONNECTED: HashMap<u64, Redirected> =
    HashMap::with_max_entries(MAX_CONNECTED, BPF_F_NO_PREALLOC);

/// `ECONNREFUSED`, the same on every architecture that runs eBPF.
const REFUSED: u32 = 111;

/// How a call fails that a rule sends elsewhere, if there is no such end over its family.
#[inline(always)]
pub(super) fn errno(call: Call, rule: &NetRule) -> u32 {
    if end(rule, call.family()).1 == 0 { REFUSED } else { 0 }
}

/// Sends a call where a rule wants it.
#[inline(always)]
pub(super) fn turn(context: *mut bpf_sock_addr, its_family: u32, call: Call, id: u32) {
    let Some(rule) = RULES.get(id % MAX_RULES) else { return };
    let family = call.family();
    let (address, port) = end(rule, family);
    let cookie = cookie(context.cast());
    let origin = Redirected { address: call.address, port: call.port().into(), rule: id };
    let is_noted = if call.operation() == Operation::Connect as u32 {
        CONNECTED.insert(&cookie, &origin, 0)
    } else {
        let key = RedirectedKey { cookie, address, port: port.into(), family };
        REDIRECTED.insert(&key, &origin, 0)
    };
    // What is not known when it comes back would seem to be from a stranger.
    if is_noted.is_ok() {
        write(context, its_family, family, address, port);
    }
}

/// A socket is closed, or connects where it says.
#[inline(always)]
pub fn forget<T>(socket: *mut T) {
    let cookie = cookie(socket.cast());
    // There is none of most of them.
    let _ = CONNECTED.remove(&cookie);
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
    let cookie = cookie(context.cast());
    let (_, port, words) = read(context, FAMILY);
    let (family, words) = if FAMILY != FAMILY_V4 && is_mapped(&words) {
        (FAMILY_V4, [words[3], 0, 0, 0])
    } else {
        (FAMILY, words)
    };
    let address = [join(words[0], words[1]), join(words[2], words[3])];
    let key = RedirectedKey { cookie, address, port: port.into(), family };
    // SAFETY: the values stay readable while the program runs.
    let origin = unsafe { CONNECTED.get(&cookie).or_else(|| REDIRECTED.get(&key)) };
    if let Some(origin) = origin {
        write(context, FAMILY, family, origin.address, origin.port as u16);
    }
    ALLOWED
}

/// Of a context that has a socket, or 0.
#[inline(always)]
fn cookie(context: *mut c_void) -> u64 {
    // SAFETY: the helper takes the context.
    unsafe { bpf_get_socket_cookie(context) }
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
pub(super) fn is_left(skb: *mut __sk_buff, id: u32, rule: &NetRule) -> bool {
    let cookie = cookie(skb.cast());
    // SAFETY: the value stays readable while the program runs.
    let origin = unsafe { CONNECTED.get(&cookie) };
    origin.is_some_and(|origin| origin.rule == id) && gate::is_over(&rule.gate)
}
