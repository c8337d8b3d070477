//! Changing bits of a packet, so that its checksums fit again.
//!
//! Who wants them not to fit sends the packet through a hop that computes what a device would have, and spoils it
//! behind that: see [`hop`](super::hop).

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0},
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_store_bytes},
};
use chaos_common::abi::{Corrupt, MAX_CORRUPT_BITS, MAX_RULES, Region, mix};

use super::tables::RULES;
use crate::packet::{Packet, Skb, network, relative};
use crate::protocol::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP};

/// What a corruption came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Corrupted {
    /// There was nothing to change.
    Not,
    /// Nobody below the application notices.
    Silently,
    /// The receiver's stack is to notice.
    ToBeNoticed,
}

/// A transport's header.
struct Transport {
    length: u32,
    checksum: u32,
    is_udp: bool,
}

/// Carries out what the packet's verdict says about corruption.
#[inline(always)]
pub fn corrupt(skb: Skb, packet: &Packet) -> Corrupted {
    let skb = skb.raw();
    let id = packet.verdict.corrupter;
    let Some(rule) = RULES.get(id % MAX_RULES).filter(|rule| id != 0 && rule.id == id) else {
        return Corrupted::Not;
    };
    let wanted = Corrupt::of(&rule.parameters);
    let Some(transport) = transport(skb, packet) else { return Corrupted::Not };
    let Some(network) = network(skb) else { return Corrupted::Not };
    let header = packet.transport;
    let end = if packet.end == 0 { packet.length.saturating_sub(network) } else { packet.end };
    let (from, until) = if wanted.region == Region::Headers as u64 {
        (header, header + transport.length)
    } else {
        (header + transport.length, end)
    };
    if from >= until || until > packet.length {
        return Corrupted::Not;
    }
    for at in 0..MAX_CORRUPT_BITS {
        if u64::from(at) >= wanted.bits {
            break;
        }
        let draw = mix(packet.verdict.corruption, u64::from(at));
        if !flip(skb, network, header, &transport, (from, until), draw) {
            return Corrupted::Not;
        }
    }
    if wanted.fixes_checksum == 0 { Corrupted::ToBeNoticed } else { Corrupted::Silently }
}

/// Flips one bit in a stretch that begins at an even distance from the transport's header.
#[inline(always)]
fn flip(
    skb: *mut __sk_buff,
    network: u32,
    header: u32,
    transport: &Transport,
    (from, until): (u32, u32),
    draw: u64,
) -> bool {
    let words = (until - from).div_ceil(2);
    let mut at = from + ((draw as u32 as u64 * u64::from(words)) >> 32) as u32 * 2;
    // Its own checksum says nothing of the checksum.
    if at == header + transport.checksum {
        at = from;
    }
    let bit = (draw >> 32) as u32;
    // The last byte of an odd stretch stands alone.
    let (length, mask) =
        if at + 1 < until { (2, 1u16 << (bit & 15)) } else { (1, 1u16 << (bit & 7)) };
    let mut word = 0u16;
    // SAFETY: each helper takes the context, numbers, and room of the length beside it.
    unsafe {
        let place = (&raw mut word).cast();
        let status = if length == 2 {
            bpf_skb_load_bytes(skb.cast(), network + at, place, 2)
        } else {
            bpf_skb_load_bytes(skb.cast(), network + at, place, 1)
        };
        if status != 0 {
            return false;
        }
        // In memory the first byte of a word is its low one on every machine this is made for.
        let changed = word ^ mask;
        let place = (&raw const changed).cast();
        let status = if length == 2 {
            bpf_skb_store_bytes(skb, network + at, place, 2, 0)
        } else {
            bpf_skb_store_bytes(skb, network + at, place, 1, 0)
        };
        let udp = if transport.is_udp { u64::from(BPF_F_MARK_MANGLED_0) } else { 0 };
        let sum = network + header + transport.checksum;
        let (before, after) = (u64::from(word), u64::from(changed));
        status == 0 && bpf_l4_csum_replace(skb, sum, before, after, 2 | udp) == 0
    }
}

/// Makes the checksum of a packet wrong that no device computes any more.
#[inline(always)]
pub fn spoil(skb: Skb, packet: &Packet) -> bool {
    let skb = skb.raw();
    let Some(transport) = transport(skb, packet) else { return false };
    let Some(network) = network(skb) else { return false };
    let at = network + packet.transport + transport.checksum;
    let mut word = 0u16;
    // SAFETY: each helper takes the context, numbers, and room of the length beside it.
    unsafe {
        if bpf_skb_load_bytes(skb.cast(), at, (&raw mut word).cast(), 2) != 0 {
            return false;
        }
        // Zero would be no checksum at all.
        let wrong = if word == 1 { 3 } else { word ^ 1 };
        bpf_skb_store_bytes(skb, at, (&raw const wrong).cast(), 2, 0) == 0
    }
}

#[inline(always)]
fn transport(skb: *mut __sk_buff, packet: &Packet) -> Option<Transport> {
    if packet.transport == 0 {
        return None;
    }
    match packet.protocol as u8 {
        IPPROTO_TCP => {
            let [words] = relative::<1>(skb, packet.transport + 12)?;
            let length = u32::from(words >> 4) * 4;
            Some(Transport { length, checksum: 16, is_udp: false })
        }
        IPPROTO_UDP => Some(Transport { length: 8, checksum: 6, is_udp: true }),
        IPPROTO_ICMP | IPPROTO_ICMPV6 => Some(Transport { length: 8, checksum: 2, is_udp: false }),
        _ => None,
    }
}
