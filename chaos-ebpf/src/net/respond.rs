//! Turning a question to a name server into the response to it.
//!
//! The question stays as it was asked, letter by letter. Of its options only that there are some is repeated (RFC 6891,
//! 6.1.1): how large a response may be, and whether DNSSEC is wanted.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_csum_diff};
use chaos_common::abi::FAMILY_V4;

use super::{
    checksum::{addresses, fold, protocol_and_length, sum},
    edit::{load_words, resize, store, store_bytes, swap_ends},
    hook::Hook,
    question::{self, HEADER, Question, ROOM, UDP},
    reject::{V4, V6, at, ends, header_v4, header_v6, net_is_answered},
    tables::PACKET,
};
use crate::{
    packet::{Packet, Skb, absolute, network},
    protocol::IPPROTO_UDP,
};

/// In a verdict's answer: a response, with its code in the lowest bits.
pub(super) const RESPONSE: u32 = 1 << 31;

/// The options of EDNS without any: root, type, size, flags, no length.
const OPTIONS: usize = 11;

/// Makes the question that was read for a hook its own response. False if it has none; it may be spoilt then.
#[inline(always)]
pub(super) fn turn_round(skb: Skb, hook: Hook, packet: &Packet) -> bool {
    let header = if packet.family == FAMILY_V4 { V4 } else { V6 };
    let (skb, hook) = (skb.raw(), hook as u32);
    if packet.transport != header || net_is_answered(skb, hook) == 0 {
        return false;
    }
    let length = net_response(skb, hook);
    length != 0 && net_respond(skb, hook, length) != 0
}

/// Puts together behind the question what is in the response, and says how long that is from the question on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_response(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let begin = link + packet.transport + UDP + HEADER;
    let end = question.bytes();
    let options = match question.has_more {
        0 => None,
        _ => absolute::<OPTIONS>(skb, begin + end).filter(is_options),
    };
    let mut put = |at: u32, byte: u8| question.text[at as usize & (ROOM - 1)] = byte;
    let length = match options {
        Some(options) => {
            for (at, byte) in options.iter().enumerate() {
                // Neither an extended code nor options.
                let is_kept = !matches!(at, 5 | 9 | 10);
                put(end + at as u32, if is_kept { *byte } else { 0 });
            }
            end + OPTIONS as u32
        }
        None => end,
    };
    // The sum is taken over whole words.
    for at in 0..3 {
        put(length + at, 0);
    }
    length
}

/// Whether these are the options of EDNS, of the version that there is.
#[inline(always)]
fn is_options(bytes: &[u8; OPTIONS]) -> bool {
    const TYPE: u8 = 41;
    bytes[0] == 0 && bytes[1] == 0 && bytes[2] == TYPE && bytes[6] == 0
}

/// Writes the response, of which so many bytes are from the question on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_respond(skb: *mut __sk_buff, hook: u32, length: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    u32::from(respond(skb, hook, packet, question, link, length).is_some())
}

#[inline(always)]
fn respond(
    skb: *mut __sk_buff,
    hook: u32,
    packet: &Packet,
    question: &Question,
    link: u32,
    length: u32,
) -> Option<()> {
    let has_options = length > question.bytes();
    let udp = link + packet.transport;
    let [first, ..] = load_words::<1>(skb, udp + UDP)?;
    let header = response_header(first, packet.verdict.answer as u8 & 0xf, has_options);
    let (from, to, from_port, to_port) = ends(packet, hook);
    let total = UDP + HEADER + length;
    let ports = (u32::from(from_port) << 16 | u32::from(to_port)).to_be();
    let mut transport = [ports, (total << 16).to_be()];
    let rest = text_sum(question, length)? + sum(&header) + sum(&transport);
    resize(skb, udp + total).then_some(())?;
    let pseudo = if packet.family == FAMILY_V4 {
        let (from, to) = (at(from, 0), at(to, 0));
        let ip = header_v4(IPPROTO_UDP, V4 + total, from, to);
        store(skb, link, &ip).then_some(())?;
        u64::from(from) + u64::from(to)
    } else {
        let ip = header_v6(IPPROTO_UDP, total, from, to);
        store(skb, link, &ip).then_some(())?;
        addresses(&ip)
    };
    // A sum of zero is written as its complement: zero says that there is none.
    let checksum = match !fold(pseudo + protocol_and_length(IPPROTO_UDP, total) + rest) {
        0 => u16::MAX,
        checksum => checksum,
    };
    transport[1] |= u32::from(checksum) << 16;
    let is_done = store(skb, udp, &transport)
        && store(skb, udp + UDP, &header)
        && (!has_options || store_options(skb, udp + UDP + HEADER, question))
        && swap_ends(skb, link);
    is_done.then_some(())
}

/// The header of a response to a question whose first word is given.
#[inline(always)]
fn response_header(first: u32, code: u8, has_options: bool) -> [u32; 3] {
    const RESPONSE: u8 = 0x80;
    const RECURSION_DESIRED: u8 = 1;
    const RECURSION_AVAILABLE: u8 = 0x80;
    const CHECKING_DISABLED: u8 = 0x10;
    let [high, low, flags, others] = first.to_ne_bytes();
    let flags = RESPONSE | flags & RECURSION_DESIRED;
    let others = RECURSION_AVAILABLE | others & CHECKING_DISABLED | code;
    [
        u32::from_ne_bytes([high, low, flags, others]),
        u32::from_ne_bytes([0, 1, 0, 0]),
        u32::from_ne_bytes([0, 0, 0, u8::from(has_options)]),
    ]
}

/// The sum of the response from the question on.
#[inline(always)]
fn text_sum(question: &Question, length: u32) -> Option<u64> {
    let bytes = (length + 3) & (ROOM as u32 - 4);
    let text = question.text.as_ptr().cast_mut().cast();
    // SAFETY: the helper reads as many bytes, a multiple of four and fewer than there are.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, text, bytes, 0) };
    u64::try_from(sum).ok()
}

#[inline(always)]
fn store_options(skb: *mut __sk_buff, begin: u32, question: &Question) -> bool {
    let end = question.bytes();
    let mut options = [0; OPTIONS];
    for (at, byte) in options.iter_mut().enumerate() {
        *byte = question.text[(end as usize + at) & (ROOM - 1)];
    }
    store_bytes(skb, begin + end, &options)
}
