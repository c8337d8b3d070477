//! Turning a packet into the answer to it: a reset of its TCP connection, or an ICMP error that quotes it.
//!
//! A program cannot ask who computes a packet's checksum. So every answer is made to be right in both cases. A
//! device that fills one in sums up what is from the transport's header on, whatever is in its checksum's place by
//! then, and puts the complement there: what the whole sums up to afterwards depends on what was in that place
//! alone.
//! * A reset has its checksum in that very place. Its window, which nobody looks at, makes the sum of the
//!   pseudo-header be the right checksum already.
//! * In an ICMP error the place lies within the quotation. What is there is chosen so that the quotation sums up
//!   to the same before and after.

use aya_ebpf::bindings::__sk_buff;
use chaos_common::abi::{Answer, Direction, FAMILY_V4};

use super::{
    checksum::{addresses, fold, protocol_and_length, sum},
    edit::{load_words, make_room, resize, store, store_half, swap_ends},
    hook::Hook,
    tables::PACKET,
};
use crate::packet::{Packet, Skb, VLAN, absolute, network, relative};
use crate::protocol::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP};

/// Bytes of an IPv4 header without options.
pub(super) const V4: u32 = 20;
pub(super) const V6: u32 = 40;
const TCP: u32 = 20;
const ICMP: u32 = 8;
/// What is quoted of a transport that is not TCP.
const QUOTED: u32 = 8;
const TTL: u8 = 64;

/// Makes the packet that was read for a hook its own answer. False if it has none; it may be spoilt then.
#[inline(always)]
pub fn turn_round(skb: Skb, hook: Hook, packet: &Packet) -> bool {
    let header = if packet.family == FAMILY_V4 { V4 } else { V6 };
    // Options and extension headers, which nobody uses.
    let (skb, hook) = (skb.raw(), hook as u32);
    if packet.transport != header || net_is_answered(skb, hook) == 0 {
        return false;
    }
    let is_reset = packet.verdict.answer == Answer::Reset as u32;
    let done = match (packet.protocol as u8, packet.family == FAMILY_V4) {
        (IPPROTO_TCP, true) if is_reset => net_reset_v4(skb, hook),
        (IPPROTO_TCP, false) if is_reset => net_reset_v6(skb, hook),
        (IPPROTO_TCP | IPPROTO_UDP, true) => net_unreachable_v4(skb, hook),
        (IPPROTO_TCP | IPPROTO_UDP, false) => net_unreachable_v6(skb, hook),
        (_, _) if is_reset => 0,
        (_, true) => net_unreachable_v4(skb, hook),
        (_, false) => net_unreachable_v6(skb, hook),
    };
    done != 0
}

/// What RFC 9293 and RFC 1122 let be answered: no resets, no ICMP but echo requests, no fragments, nothing that went
/// to many.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn net_is_answered(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    u32::from(is_answered(skb, packet, Hook::of(hook)))
}

#[inline(always)]
fn is_answered(raw: *mut __sk_buff, packet: &Packet, hook: Hook) -> bool {
    const ECHO_V4: u8 = 8;
    const ECHO_V6: u8 = 128;
    const RST: u8 = 4;
    let to = match hook.direction() {
        Direction::Out => packet.remote[0],
        Direction::In => packet.local[0],
    };
    let is_v4 = packet.family == FAMILY_V4;
    if is_v4 {
        let Some([high, low]) = relative::<2>(raw, 6) else { return false };
        if (high & 0x3f) | low != 0 || to >= 224 {
            return false;
        }
    } else if to == 0xff {
        return false;
    }
    match network(raw) {
        Some(0) => {}
        Some(1..=VLAN) => {
            if absolute::<1>(raw, 0).is_none_or(|[first]| first & 1 != 0) {
                return false;
            }
        }
        // With the headers of its tunnel in front it cannot be turned round.
        Some(_) | None => return false,
    }
    match packet.protocol as u8 {
        IPPROTO_TCP => {
            relative::<1>(raw, packet.transport + 13).is_some_and(|[flags]| flags & RST == 0)
        }
        IPPROTO_ICMP | IPPROTO_ICMPV6 => {
            let echo = if is_v4 { ECHO_V4 } else { ECHO_V6 };
            relative::<1>(raw, packet.transport).is_some_and(|[kind]| kind == echo)
        }
        _ => true,
    }
}

/// The ends of an answer: from whom it seems to be, and to whom it goes.
#[inline(always)]
pub(super) fn ends(packet: &Packet, hook: u32) -> (&[u8; 16], &[u8; 16], u16, u16) {
    match Hook::of(hook).direction() {
        Direction::Out => (&packet.remote, &packet.local, packet.remote_port, packet.local_port),
        Direction::In => (&packet.local, &packet.remote, packet.local_port, packet.remote_port),
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_reset_v4(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let (from, to, ..) = ends(packet, hook);
    let (from, to) = (at(from, 0), at(to, 0));
    let pseudo = u64::from(from) + u64::from(to) + protocol_and_length(IPPROTO_TCP, TCP);
    let Some(tcp) = reset(skb, packet, hook, pseudo) else { return 0 };
    let ip = header_v4(IPPROTO_TCP, V4 + TCP, from, to);
    let is_done = resize(skb, link + V4 + TCP)
        && store(skb, link, &ip)
        && store(skb, link + V4, &tcp)
        && swap_ends(skb, link);
    u32::from(is_done)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_reset_v6(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let (from, to, ..) = ends(packet, hook);
    let ip = header_v6(IPPROTO_TCP, TCP, from, to);
    let pseudo = addresses(&ip) + protocol_and_length(IPPROTO_TCP, TCP);
    let Some(tcp) = reset(skb, packet, hook, pseudo) else { return 0 };
    let is_done = resize(skb, link + V6 + TCP)
        && store(skb, link, &ip)
        && store(skb, link + V6, &tcp)
        && swap_ends(skb, link);
    u32::from(is_done)
}

/// The header of a reset, RFC 9293, 3.10.7.1.
#[inline(always)]
fn reset(skb: *mut __sk_buff, packet: &Packet, hook: u32, pseudo: u64) -> Option<[u32; 5]> {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let header: [u8; 20] = relative(skb, packet.transport)?;
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let flags = header[13];
    let (sequence, acknowledged, answer) = if flags & ACK != 0 {
        (u32::from_ne_bytes(word(8)), 0, RST)
    } else {
        let begin = packet.transport + u32::from(header[12] >> 4) * 4;
        let length = packet.end.saturating_sub(begin)
            + u32::from(flags & SYN != 0)
            + u32::from(flags & FIN != 0);
        let next = u32::from_be_bytes(word(4)).wrapping_add(length);
        (0, next.to_be(), RST | ACK)
    };
    let (.., from, to) = ends(packet, hook);
    let ports = (u32::from(from) << 16 | u32::from(to)).to_be();
    let mut words = [
        ports,
        sequence,
        acknowledged,
        u32::from_ne_bytes([(TCP as u8 / 4) << 4, answer, 0, 0]),
        0,
    ];
    // The window is the second half of its word.
    let window = fold(u64::from(!fold(2 * pseudo + sum(&words))));
    words[3] |= u32::from(window) << 16;
    words[4] = u32::from(fold(pseudo));
    Some(words)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_unreachable_v4(skb: *mut __sk_buff, hook: u32) -> u32 {
    const UNREACHABLE: u8 = 3;
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let Some(quoted) = load_words::<5>(skb, link) else { return 0 };
    let Some(transport) = transport(skb, packet, link + V4) else { return 0 };
    let (from, to, ..) = ends(packet, hook);
    let code = Answer::code(packet.verdict.answer, true);
    let icmp = icmp(UNREACHABLE, code, sum(&quoted) + transport.sum);
    let length = V4 + transport.length;
    let ip = header_v4(IPPROTO_ICMP, V4 + ICMP + length, at(from, 0), at(to, 0));
    let begin = link + V4 + ICMP;
    let is_done = resize(skb, link + length)
        && make_room(skb, V4 + ICMP)
        && store(skb, link, &ip)
        && store(skb, link + V4, &icmp)
        && transport.balance(skb, begin + V4)
        && swap_ends(skb, link);
    u32::from(is_done)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_unreachable_v6(skb: *mut __sk_buff, hook: u32) -> u32 {
    const UNREACHABLE: u8 = 1;
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let Some(quoted) = load_words::<10>(skb, link) else { return 0 };
    let Some(transport) = transport(skb, packet, link + V6) else { return 0 };
    let (from, to, ..) = ends(packet, hook);
    let code = Answer::code(packet.verdict.answer, false);
    let length = V6 + transport.length;
    let ip = header_v6(IPPROTO_ICMPV6, ICMP + length, from, to);
    let pseudo = addresses(&ip) + protocol_and_length(IPPROTO_ICMPV6, ICMP + length);
    let icmp = icmp(UNREACHABLE, code, pseudo + sum(&quoted) + transport.sum);
    let begin = link + V6 + ICMP;
    let is_done = resize(skb, link + length)
        && make_room(skb, V6 + ICMP)
        && store(skb, link, &ip)
        && store(skb, link + V6, &icmp)
        && transport.balance(skb, begin + V6)
        && swap_ends(skb, link);
    u32::from(is_done)
}

/// What is quoted behind the IP header.
struct Transport {
    length: u32,
    /// As it is in the answer.
    sum: u64,
    /// Where its checksum is, and what is there in the answer.
    checksum: Option<(u32, u16)>,
}

#[inline(always)]
fn transport(skb: *mut __sk_buff, packet: &Packet, begin: u32) -> Option<Transport> {
    match packet.protocol as u8 {
        IPPROTO_TCP => {
            let mut words: [u32; 5] = load_words(skb, begin)?;
            // The checksum is the first half of its word, which an error need not have.
            words[4] = 0;
            Some(Transport::balanced(TCP, 16, sum(&words)))
        }
        IPPROTO_UDP => {
            let mut words: [u32; 2] = load_words(skb, begin)?;
            words[1] &= 0xffff;
            Some(Transport::balanced(QUOTED, 6, sum(&words)))
        }
        _ => {
            let words: [u32; 2] = load_words(skb, begin)?;
            Some(Transport { length: QUOTED, sum: sum(&words), checksum: None })
        }
    }
}

impl Transport {
    /// `rest` is the sum of everything but the checksum. The whole, which is `rest` and the checksum, is to be minus
    /// the checksum: that is what a device would make of it.
    #[inline(always)]
    fn balanced(length: u32, at: u32, rest: u64) -> Self {
        /// Half of one, where 65535 is nothing.
        const HALF: u64 = 1 << 15;
        let checksum = fold(u64::from(!fold(rest)) * HALF);
        Self { length, sum: rest + u64::from(checksum), checksum: Some((at, checksum)) }
    }

    /// Writes it into the quotation.
    #[inline(always)]
    fn balance(&self, skb: *mut __sk_buff, begin: u32) -> bool {
        let Some((at, checksum)) = self.checksum else { return true };
        // With a TCP header, the urgent pointer goes too.
        at != 16 && store_half(skb, begin + at, checksum)
            || at == 16 && store(skb, begin + at, &[u32::from(checksum)])
    }
}

#[inline(always)]
fn icmp(kind: u8, code: u8, rest: u64) -> [u32; 2] {
    let first = u32::from_ne_bytes([kind, code, 0, 0]);
    let checksum = !fold(rest + u64::from(first));
    [first | u32::from(checksum) << 16, 0]
}

#[inline(always)]
pub(super) fn header_v4(protocol: u8, length: u32, from: u32, to: u32) -> [u32; 5] {
    const DO_NOT_FRAGMENT: u8 = 0x40;
    let [high, low] = (length as u16).to_be_bytes();
    let mut words = [
        u32::from_ne_bytes([0x45, 0, high, low]),
        u32::from_ne_bytes([0, 0, DO_NOT_FRAGMENT, 0]),
        u32::from_ne_bytes([TTL, protocol, 0, 0]),
        from,
        to,
    ];
    words[2] |= u32::from(!fold(sum(&words))) << 16;
    words
}

#[inline(always)]
pub(super) fn header_v6(protocol: u8, length: u32, from: &[u8; 16], to: &[u8; 16]) -> [u32; 10] {
    let [high, low] = (length as u16).to_be_bytes();
    [
        u32::from_ne_bytes([0x60, 0, 0, 0]),
        u32::from_ne_bytes([high, low, protocol, TTL]),
        at(from, 0),
        at(from, 4),
        at(from, 8),
        at(from, 12),
        at(to, 0),
        at(to, 4),
        at(to, 8),
        at(to, 12),
    ]
}

#[inline(always)]
pub(super) fn at(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
