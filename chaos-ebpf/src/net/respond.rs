//! Turning a question to a name server into the response to it.
//!
//! The question stays as it was asked, letter by letter. Of its options only that there are some is repeated (RFC 6891,
//! 6.1.1): how large a response may be, and whether DNSSEC is wanted. What would be larger is cut short, and says so (TC):
//! then whoever asked asks again over TCP.

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_csum_diff};
use chaos_common::abi::FAMILY_V4;

use super::{
    checksum::{addresses, fold, placed, protocol_and_length, sum},
    edit::{load_words, resize, store, store_bytes, swap_ends},
    hook::Hook,
    question::{self, HEADER, OPTIONS, Question, ROOM, UDP},
    records,
    reject::{V4, V6, at, ends, header_v4, header_v6, net_is_answered},
    tables::PACKET,
};
use crate::{
    packet::{Packet, Skb, absolute, network},
    protocol::IPPROTO_UDP,
};

/// In a verdict's answer: a response, with its code in the lowest bits.
pub(super) const RESPONSE: u32 = 1 << 31;
/// The same: it is cut short whatever its size.
pub(super) const CUT: u32 = 1 << 30;

/// How large a response is without them (RFC 1035, 4.2.1).
const PLAIN: u32 = 512;
/// How large it is at the most, whatever who asks would take: as name servers have it, so that it is in one packet
/// everywhere (<https://www.dnsflagday.net/2020/>).
const MOST: u32 = 1232;

/// Makes the question that was read for a hook its own response. False if it has none; it may be spoilt then.
#[inline(always)]
pub(super) fn turn_round(skb: Skb, hook: Hook, packet: &Packet) -> bool {
    let header = if packet.family == FAMILY_V4 { V4 } else { V6 };
    let (skb, hook) = (skb.raw(), hook as u32);
    packet.transport == header
        && net_is_answered(skb, hook) != 0
        && net_compose(skb, hook) != 0
        && net_fit(skb, hook) != 0
        && records::write(skb, hook)
        && net_respond(skb, hook) != 0
}

/// Notes what comes behind the question in the response.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_compose(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let end = question.end();
    // The sum is taken over whole words.
    for at in 0..3 {
        question.text[(end + at) as usize & (ROOM - 1)] = 0;
    }
    let behind = link + packet.transport + UDP + HEADER + end;
    let options = match question.has_more {
        0 => None,
        _ => absolute::<OPTIONS>(skb, behind),
    };
    let mut room = PLAIN;
    (question.has_options, question.options) = (0, [0; 3]);
    if let Some([root, t1, t2, s1, s2, _, version, f1, f2, ..]) = options {
        question.has_options = 1;
        // Neither an extended code nor options.
        question.options = [
            u32::from_ne_bytes([root, t1, t2, s1]),
            u32::from_ne_bytes([s2, 0, version, f1]),
            u32::from_ne_bytes([f2, 0, 0, 0]),
        ];
        let size = u32::from(s1) << 8 | u32::from(s2);
        room = if size > MOST { MOST } else { size };
        room = if room > PLAIN { room } else { PLAIN };
    }
    if records::count(question, packet.verdict.responder).is_none() {
        return 0;
    }
    question.is_cut = 0;
    if packet.verdict.answer & CUT != 0 || HEADER + end + rest(question) > room {
        cut(question);
    }
    1
}

/// Bytes behind the question.
#[inline(always)]
fn rest(question: &Question) -> u32 {
    question.bytes + if question.has_options == 0 { 0 } else { OPTIONS as u32 }
}

#[inline(always)]
fn cut(question: &mut Question) {
    (question.is_cut, question.count, question.bytes) = (1, 0, 0);
}

/// Makes a packet as long as the response. One that is longer than the interface takes is cut short.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_fit(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let begin = link + packet.transport + UDP + HEADER + question.end();
    if resize(skb, begin + rest(question)) {
        return 1;
    }
    cut(question);
    u32::from(resize(skb, begin + rest(question)))
}

/// Writes the response, but for its question and records.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_respond(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    u32::from(respond(skb, hook, packet, question, link).is_some())
}

#[inline(always)]
fn respond(
    skb: *mut __sk_buff,
    hook: u32,
    packet: &Packet,
    question: &Question,
    link: u32,
) -> Option<()> {
    let udp = link + packet.transport;
    let [first, ..] = load_words::<1>(skb, udp + UDP)?;
    let header = response_header(first, packet.verdict.answer as u8 & 0xf, question);
    let (from, to, from_port, to_port) = ends(packet, hook);
    let behind = question.end() + question.bytes;
    let total = UDP + HEADER + question.end() + rest(question);
    let ports = (u32::from(from_port) << 16 | u32::from(to_port)).to_be();
    let mut transport = [ports, (total << 16).to_be()];
    let options = placed(sum(&question.options), behind);
    let told = text_sum(question)? + question.sum + options + sum(&header) + sum(&transport);
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
    let checksum = match !fold(pseudo + protocol_and_length(IPPROTO_UDP, total) + told) {
        0 => u16::MAX,
        checksum => checksum,
    };
    transport[1] |= u32::from(checksum) << 16;
    let is_done = store(skb, udp, &transport)
        && store(skb, udp + UDP, &header)
        && (question.has_options == 0 || store_options(skb, udp + UDP + HEADER + behind, question))
        && swap_ends(skb, link);
    is_done.then_some(())
}

/// The header of a response to a question whose first word is given.
#[inline(always)]
fn response_header(first: u32, code: u8, question: &Question) -> [u32; 3] {
    const RESPONSE: u8 = 0x80;
    const CUT: u8 = 2;
    const RECURSION_DESIRED: u8 = 1;
    const RECURSION_AVAILABLE: u8 = 0x80;
    const CHECKING_DISABLED: u8 = 0x10;
    let [high, low, flags, others] = first.to_ne_bytes();
    let cut = if question.is_cut == 0 { 0 } else { CUT };
    let flags = RESPONSE | cut | flags & RECURSION_DESIRED;
    let others = RECURSION_AVAILABLE | others & CHECKING_DISABLED | code;
    [
        u32::from_ne_bytes([high, low, flags, others]),
        u32::from_ne_bytes([0, 1, 0, question.count as u8]),
        u32::from_ne_bytes([0, 0, 0, question.has_options as u8]),
    ]
}

/// The sum of the question as it was asked.
#[inline(always)]
fn text_sum(question: &Question) -> Option<u64> {
    let bytes = (question.end() + 3) & (ROOM as u32 - 4);
    let text = question.text.as_ptr().cast_mut().cast();
    // SAFETY: the helper reads as many bytes, a multiple of four and fewer than there are.
    let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, text, bytes, 0) };
    u64::try_from(sum).ok()
}

#[inline(always)]
fn store_options(skb: *mut __sk_buff, begin: u32, question: &Question) -> bool {
    let [first, second, third] = question.options;
    let last = third.to_ne_bytes();
    store(skb, begin, &[first, second]) && store_bytes(skb, begin + 8, &[last[0], last[1], last[2]])
}
