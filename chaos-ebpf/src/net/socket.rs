//! Whose socket is at one end of a packet: looked up as the stack will, and its cgroup read from the kernel's
//! structures, since no helper tells that of a socket that was found.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 as Ends4},
    bindings::{
        bpf_sock_tuple__bindgen_ty_1 as Ends, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 as Ends6,
    },
    helpers::generated::{bpf_sk_lookup_tcp, bpf_sk_lookup_udp, bpf_sk_release},
};
use chaos_common::abi::{FAMILY_V4, Layout};

use super::{hook::Hook, kernel::LAYOUT, tables::PACKET};
use crate::memory::{number, read};
use crate::packet::Packet;
use crate::protocol::IPPROTO_TCP;

/// `BPF_F_CURRENT_NETNS`: the namespace of the device.
const HERE: u64 = u64::MAX;
/// Set in the word of a socket's cgroup on kernels before 5.15 that hold something else there.
const NO_POINTER: u64 = 3;

/// One end of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum End {
    /// The target's, or whose that may be.
    Local = 0,
    /// The other one.
    Remote = 1,
}

/// A socket's cgroup. It may go while the program runs: then what is read is nonsense, and no harm.
#[derive(Clone, Copy)]
pub struct Owner {
    pub(super) cgroup: u64,
    pub(super) level: u32,
}

impl Owner {
    /// At an end of a packet whose headers were read for a hook; `None` where there is no socket of TCP or UDP in
    /// this network namespace.
    #[inline(always)]
    pub fn of(skb: *mut __sk_buff, hook: Hook, end: End) -> Option<Self> {
        let cgroup = net_socket(skb, hook as u32, end as u32);
        if cgroup == 0 || cgroup & NO_POINTER != 0 {
            return None;
        }
        let layout = LAYOUT.get(0)?;
        Some(Self { cgroup, level: read(cgroup, layout.cgroup_level)? })
    }

    /// The id of the ancestor at a level, or 0.
    #[inline(always)]
    pub fn ancestor(self, level: u32) -> u64 {
        net_ancestor(self.cgroup, self.level, level)
    }
}

/// The id of a cgroup's ancestor, or 0. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn net_ancestor(cgroup: u64, own: u32, level: u32) -> u64 {
    let Some(layout) = LAYOUT.get(0) else { return 0 };
    if level > own {
        return 0;
    }
    let at = level * size_of::<u64>() as u32;
    if layout.cgroup_ancestors == 0 {
        return read(cgroup, layout.cgroup_ancestor_ids + at).unwrap_or(0);
    }
    let id = || {
        let ancestor = read::<u64>(cgroup, layout.cgroup_ancestors + at)?;
        let node = read::<u64>(ancestor, layout.cgroup_kn)?;
        read(node, layout.kn_id)
    };
    id().unwrap_or(0)
}

/// The word in which the socket at an end of a packet has its cgroup, or 0. A global function: see
/// [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_socket(skb: *mut __sk_buff, hook: u32, end: u32) -> u64 {
    let Some(layout) = LAYOUT.get(0).filter(|layout| layout.sock_cgroup != 0) else { return 0 };
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let its = (&packet.local, packet.local_port);
    let others = (&packet.remote, packet.remote_port);
    let ends = if end == End::Local as u32 { (its, others) } else { (others, its) };
    cgroup(skb, packet, ends, layout).unwrap_or(0)
}

/// Address and port.
type Address<'a> = (&'a [u8; 16], u16);

#[inline(always)]
fn cgroup(
    skb: *mut __sk_buff,
    packet: &Packet,
    (own, others): (Address<'_>, Address<'_>),
    layout: &Layout,
) -> Option<u64> {
    if packet.has_ports == 0 {
        return None;
    }
    let is_tcp = packet.protocol as u8 == IPPROTO_TCP;
    let mut tuple = bpf_sock_tuple { __bindgen_anon_1: Ends { ipv6: ZERO } };
    // Ports are in network byte order there, and the other end of the socket comes first.
    let (sport, dport) = (others.1.to_be(), own.1.to_be());
    let size = if packet.family == FAMILY_V4 {
        let word = |bytes: &[u8; 16]| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let (saddr, daddr) = (word(others.0), word(own.0));
        tuple.__bindgen_anon_1.ipv4 = Ends4 { saddr, daddr, sport, dport };
        size_of::<Ends4>()
    } else {
        let (saddr, daddr) = (words(others.0), words(own.0));
        tuple.__bindgen_anon_1.ipv6 = Ends6 { saddr, daddr, sport, dport };
        size_of::<Ends6>()
    } as u32;
    // SAFETY: the helpers take the context and a tuple of the size beside it; the socket is given back.
    unsafe {
        let tuple = &raw mut tuple;
        let socket = if is_tcp {
            bpf_sk_lookup_tcp(skb.cast(), tuple, size, HERE, 0)
        } else {
            bpf_sk_lookup_udp(skb.cast(), tuple, size, HERE, 0)
        };
        if socket.is_null() {
            return None;
        }
        let word = number(socket).and_then(|address| read::<u64>(address, layout.sock_cgroup));
        bpf_sk_release(socket.cast::<c_void>());
        word
    }
}

const ZERO: Ends6 = Ends6 { saddr: [0; 4], daddr: [0; 4], sport: 0, dport: 0 };

#[inline(always)]
fn words(bytes: &[u8; 16]) -> [u32; 4] {
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    [word(0), word(4), word(8), word(12)]
}
