//! The records of a response to a question: RFC 1035, 4.1.3.
//!
//! First the one that says under which other name they are, if one does (CNAME), then addresses. A name that was said
//! before is not said again, only where it was (4.1.4).

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_NO_PREALLOC},
    helpers::generated::bpf_skb_store_bytes,
    macros::map,
    maps::HashMap,
};
use chaos_common::abi::{Address, MAX_ADDRESSES, MAX_ALIAS, MAX_RULES, Records, mix};

use super::{
    checksum::{placed, sum},
    edit::store,
    question::{self, HEADER, Question, UDP, size},
    tables::PACKET,
};
use crate::packet::network;

/// Rule id → what its questions are answered with.
#[map]
pub(super) static RECORDS: HashMap<u32, Records> =
    HashMap::with_max_entries(MAX_RULES, BPF_F_NO_PREALLOC);

const A: u32 = 1;
const AAAA: u32 = 28;
/// Words of a record up to its data: name, type, class, for how long, length.
const HEAD: usize = 3;
const V4: usize = HEAD + 1;
const V6: usize = HEAD + 4;
/// Bits of a word that say that the rest is where a name was said.
const POINTER: u32 = 0xc000;

/// Notes how many records a question is answered with by a rule, 0 for one that has none. `None` where they are gone, as
/// the rule will be.
#[inline(always)]
pub(super) fn count(question: &mut Question, rule: u32) -> Option<()> {
    (question.count, question.bytes, question.sum) = (0, 0, 0);
    if rule == 0 {
        return Some(());
    }
    let records = get(rule)?;
    let (addresses, words) = addresses(question, records);
    question.count = addresses + u32::from(records.alias_length != 0);
    question.bytes = records.alias_length + addresses * 4 * words;
    Some(())
}

#[inline(always)]
fn get(rule: u32) -> Option<&'static Records> {
    // SAFETY: the value stays readable while the program runs.
    unsafe { RECORDS.get(&rule) }
}

/// How many addresses of its type there are for a question, and of how many words each record is.
#[inline(always)]
fn addresses(question: &Question, records: &Records) -> (u32, u32) {
    let (count, words) = match question.kind {
        A => (records.v4_count, V4),
        AAAA => (records.v6_count, V6),
        _ => (0, 0),
    };
    (if count > MAX_ADDRESSES as u32 { 0 } else { count }, words as u32)
}

/// Writes the records that were counted, where there is room for them by now.
#[inline(always)]
pub(super) fn write(skb: *mut __sk_buff, hook: u32) -> bool {
    question::get(hook).is_some_and(|question| question.count == 0)
        || net_alias(skb, hook) != 0 && net_shuffle(hook) != 0 && net_records(skb, hook) != 0
}

// Global functions: see `judge`.

/// Writes under which other name the addresses are.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_alias(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(records) = get(packet.verdict.responder) else { return 0 };
    if records.alias_length == 0 {
        return 1;
    }
    let Some(link) = network(skb) else { return 0 };
    let begin = link + packet.transport + UDP + HEADER + question.end();
    const { assert!(MAX_ALIAS == question::ROOM) };
    let (alias, length) = (records.alias.as_ptr().cast(), size(records.alias_length));
    // SAFETY: the helper reads as many bytes, which there are.
    u32::from(unsafe { bpf_skb_store_bytes(skb, begin, alias, length, 0) } == 0)
}

/// Draws the order of the addresses: each is as likely as any other (Fisher and Yates, inside out).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_shuffle(hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(records) = get(packet.verdict.responder) else { return 0 };
    let (count, _) = addresses(question, records);
    for at in 0..MAX_ADDRESSES {
        if at as u32 >= seen(&count) {
            break;
        }
        let other = place(mix(packet.verdict.draw, at as u64) % (at as u64 + 1));
        question.order[at] = question.order[other];
        question.order[other] = at as u8;
    }
    1
}

/// A number that the compiler knows nothing of: it would make one end of a loop of two, of which verifiers see none.
#[inline(always)]
fn seen(number: &u32) -> u32 {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::from_ref(number).read_volatile() }
}

/// A number as a place among the addresses. It may be one already; the compiler must not know so, since verifiers know
/// nothing of remainders.
#[inline(always)]
#[cfg_attr(not(target_arch = "bpf"), expect(unused_mut, reason = "changed by the instruction"))]
fn place(mut number: u64) -> usize {
    #[cfg(target_arch = "bpf")]
    // SAFETY: calculates only.
    unsafe {
        core::arch::asm!("{number} += 0", number = inout(reg) number);
    }
    number as usize % MAX_ADDRESSES
}

/// Writes the addresses.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_records(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(records) = get(packet.verdict.responder) else { return 0 };
    let Some(link) = network(skb) else { return 0 };
    let (count, words) = addresses(question, records);
    let own = question.end() + records.alias_length;
    let begin = link + packet.transport + UDP + HEADER + own;
    for at in 0..MAX_ADDRESSES as u32 {
        if at >= seen(&count) {
            break;
        }
        if net_record(skb, hook, begin + at * 4 * words, at) == 0 {
            return 0;
        }
    }
    let alias = placed(u64::from(records.alias_sum), question.end());
    question.sum = alias + placed(question.sum, own);
    1
}

/// Writes one of the addresses.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_record(skb: *mut __sk_buff, hook: u32, begin: u32, at: u32) -> u32 {
    let Some(packet) = PACKET.get(hook) else { return 0 };
    let Some(question) = question::get(hook) else { return 0 };
    let Some(records) = get(packet.verdict.responder) else { return 0 };
    let at = at as usize % MAX_ADDRESSES;
    let chosen = question.order[at] as usize % MAX_ADDRESSES;
    // Behind those numbers that gave the order.
    let draw = |n: usize| mix(packet.verdict.draw, ((n + 1) * MAX_ADDRESSES + at) as u64);
    let owner = match records.alias_length {
        0 => HEADER,
        // The name that the record before ends with, behind its head.
        _ => HEADER + question.end() + 4 * HEAD as u32,
    };
    let [high, low] = ((POINTER | owner) as u16).to_be_bytes();
    let [t0, t1, t2, t3] = records.ttl.to_ne_bytes();
    let head = |kind: u32, words: usize| {
        let (kind, length) = (kind as u8, 4 * (words - HEAD) as u8);
        [
            u32::from_ne_bytes([high, low, 0, kind]),
            u32::from_ne_bytes([0, 1, t0, t1]),
            u32::from_ne_bytes([t2, t3, 0, length]),
        ]
    };
    if question.kind == A {
        let [first, second, third] = head(A, V4);
        let words: [u32; V4] = [first, second, third, word(&records.v4[chosen], 0, draw(0))];
        question.sum += sum(&words);
        return u32::from(store(skb, begin, &words));
    }
    let [first, second, third] = head(AAAA, V6);
    let address = &records.v6[chosen];
    let (upper, lower) = (draw(0), draw(1));
    let words: [u32; V6] = [
        first,
        second,
        third,
        word(address, 0, upper),
        word(address, 1, upper >> 32),
        word(address, 2, lower),
        word(address, 3, lower >> 32),
    ];
    question.sum += sum(&words);
    u32::from(store(skb, begin, &words))
}

/// A word of an address, the lower half of a draw given.
#[inline(always)]
const fn word<const WORDS: usize>(address: &Address<WORDS>, at: usize, draw: u64) -> u32 {
    address.fixed[at] | address.drawn[at] & draw as u32
}
