//! What a name server is asked: RFC 1035, 4.1.
//!
//! Only what is plain is taken for a question: one of them, for a name that is written out, in the class of the Internet,
//! and nothing else with it but the options of EDNS. Whatever is not goes on untouched. In a response it is the same, with
//! whatever else.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::generated::bpf_skb_load_bytes_relative,
    macros::map,
    maps::{LpmTrie, PerCpuArray, lpm_trie::Key},
};
use chaos_common::abi::{
    Asks, MAX_ADDRESSES, MAX_RULES, NAME_BYTES, NAME_HEAD_BITS, Name, PREFIX_INCLUDE,
};

use super::{
    hook::Hook,
    tables::{PACKET, RULES},
};
use crate::{packet::relative, protocol::IPPROTO_UDP};

/// Names of all rules.
#[map]
static NAMES: LpmTrie<Name, u32> = LpmTrie::with_max_entries(1 << 20, 0);

/// What the packet asks that this CPU is judging, at the index of its hook.
#[map]
static QUESTIONS: PerCpuArray<Question> = PerCpuArray::with_max_entries(Hook::COUNT, 0);

/// The header of UDP.
pub(super) const UDP: u32 = 8;
/// Where the header of UDP has its length.
const UDP_LENGTH: u32 = 4;
/// The header of DNS.
pub(super) const HEADER: u32 = 12;
/// Type and class, behind the name.
const KIND: u32 = 4;
/// A name, its type and class.
const MOST: u32 = 255 + KIND;
/// As long a text as there may be, and room for what is put behind it.
pub(super) const ROOM: usize = 512;
const IN: u16 = 1;
/// The options of EDNS without any: root, type, size, flags, length.
pub(super) const OPTIONS: usize = 11;
const OPT: u16 = 41;
/// Of EDNS: to another a name server would say that it does not know it (RFC 6891, 6.1.3).
const VERSION: u8 = 0;

/// A question, and what its response is made of.
#[repr(C)]
pub(super) struct Question {
    /// Bytes of its name, without the root's; 0 is no question.
    pub(super) length: u32,
    pub(super) kind: u32,
    /// 1 if there is something behind it.
    pub(super) has_more: u32,
    /// An [`Asks`]: whether it is asked, or answered.
    asks: u32,
    /// How many records are in the response, and of how many bytes.
    pub(super) count: u32,
    pub(super) bytes: u32,
    /// Their sum, as if they began at an even place.
    pub(super) sum: u64,
    /// A bit for each byte of its name that is a label's length.
    lengths: [u64; 4],
    /// 1 if the response is cut short.
    pub(super) is_cut: u32,
    /// 1 if it has options, and these, filled up with zeroes.
    pub(super) has_options: u32,
    pub(super) options: [u32; 3],
    /// In which order addresses are in it.
    pub(super) order: [u8; MAX_ADDRESSES],
    /// Its name as rules have theirs.
    name: Key<Name>,
    /// As it was asked, from its name on.
    pub(super) text: [u8; ROOM],
}

impl Question {
    /// Bytes from the header on: name, type and class.
    #[inline(always)]
    pub(super) const fn end(&self) -> u32 {
        (self.length & 0xff) + 1 + KIND
    }
}

/// The question that was read for a hook.
#[inline(always)]
pub(super) fn get(hook: u32) -> Option<&'static mut Question> {
    let question = QUESTIONS.get_ptr_mut(hook)?;
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    let question = unsafe { &mut *question };
    (question.length != 0).then_some(question)
}

/// Reads what the packet that was read for a hook asks, once.
#[inline(always)]
fn read(skb: *mut __sk_buff, hook: u32) {
    let Some(packet) = PACKET.get_ptr_mut(hook) else { return };
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    let knows = unsafe { &mut (*packet).knows_question };
    if *knows == 0 {
        *knows = 1;
        if net_question(skb, hook) != 0 {
            net_name(hook);
        }
    }
}

// Global functions: see `judge`.

/// 1 if a rule is about the question of the packet that was read for a hook.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn net_is_meant(skb: *mut __sk_buff, id: u32, hook: u32) -> u32 {
    read(skb, hook);
    let Some(rule) = RULES.get(id % MAX_RULES) else { return 0 };
    let Some(question) = get(hook) else { return 0 };
    let filter = &rule.filter.question;
    if question.asks != filter.asks || !filter.has_type(question.kind as u16) {
        return 0;
    }
    if filter.is_listed == 0 {
        return 1;
    }
    question.name.data.rule = id;
    u32::from(NAMES.get(&question.name).is_some_and(|verdict| *verdict == PREFIX_INCLUDE))
}

/// 1 if a packet asks something.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_question(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(question) = QUESTIONS.get_ptr_mut(hook) else { return 0 };
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    let question = unsafe { &mut *question };
    question.length = 0;
    u32::from(load(skb, hook, question).is_some())
}

#[inline(always)]
fn load(skb: *mut __sk_buff, hook: u32, question: &mut Question) -> Option<()> {
    const RESPONSE: u8 = 0x80;
    /// Another operation than to ask.
    const OPERATION: u8 = 0x78;
    let packet = PACKET.get(hook)?;
    if packet.protocol != u32::from(IPPROTO_UDP) || packet.has_ports == 0 {
        return None;
    }
    // Length and checksum of UDP, and the header of DNS.
    let header: [u8; 16] = relative(skb, packet.transport + UDP_LENGTH)?;
    let counts = u64::from_be_bytes([
        header[8], header[9], header[10], header[11], header[12], header[13], header[14],
        header[15],
    ]);
    let (asks, is_plain) = if header[6] & RESPONSE != 0 {
        (Asks::Response, counts >> 48 == 1)
    } else {
        // One question, no answers, no authorities, options at the most.
        (Asks::Query, counts & !1 == 1 << 48)
    };
    if header[6] & OPERATION != 0 || !is_plain {
        return None;
    }
    let begin = packet.transport + UDP + HEADER;
    let end = packet.transport + u32::from(u16::from_be_bytes([header[0], header[1]]));
    if end > packet.end {
        return None;
    }
    let there = end.checked_sub(begin)?;
    let length = if there > MOST { MOST } else { there };
    if length < 1 + KIND {
        return None;
    }
    // SAFETY: the helper writes as many bytes, for which there is room; the context is valid while the program runs.
    let status = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            begin,
            question.text.as_mut_ptr().cast(),
            size(length),
            BPF_HDR_START_NET,
        )
    };
    if status != 0 {
        return None;
    }
    (question.has_more, question.asks) = (counts as u32 & 1, asks as u32);
    question.length = name_length(question, length)?;
    let at = question.length as usize & 0xff;
    let half = |at: usize| u16::from_be_bytes([question.text[at], question.text[at + 1]]);
    question.kind = u32::from(half(at + 1));
    let has_options = || has_options(skb, begin + question.end(), end);
    let is_plain =
        half(at + 3) == IN && (asks == Asks::Response || question.has_more == 0 || has_options());
    if !is_plain {
        question.length = 0;
        return None;
    }
    Some(())
}

/// Whether the options of EDNS begin somewhere, and are whole.
#[inline(always)]
fn has_options(skb: *mut __sk_buff, begin: u32, end: u32) -> bool {
    relative::<OPTIONS>(skb, begin).is_some_and(|options| {
        let length = u16::from_be_bytes([options[9], options[10]]);
        options[0] == 0
            && u16::from_be_bytes([options[1], options[2]]) == OPT
            && options[6] == VERSION
            && begin + OPTIONS as u32 + u32::from(length) <= end
    })
}

/// The same number, of which old verifiers see that it is from 1 to [`ROOM`]: they lose sight of it where it was compared
/// in another register.
#[inline(always)]
pub(super) fn size(length: u32) -> u32 {
    let mut size = u64::from(length) - 1;
    #[cfg(target_arch = "bpf")]
    // SAFETY: calculates only.
    unsafe {
        core::arch::asm!("{size} &= 511", "{size} += 1", size = inout(reg) size);
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        size += 1;
    }
    size as u32
}

/// Bytes of a name, without the root's, and which of them are lengths. `None` for what is none, or is the root.
#[inline(always)]
fn name_length(question: &mut Question, length: u32) -> Option<u32> {
    /// The longest label; what is more points elsewhere.
    const LABEL: u8 = 63;
    question.lengths = [0; 4];
    let mut at = 0_u32;
    for _ in 0..128 {
        if at + 1 + KIND > length {
            return None;
        }
        let label = question.text[at as usize & 0xff];
        if label == 0 {
            return (at != 0).then_some(at);
        }
        if label > LABEL {
            return None;
        }
        question.lengths[at as usize >> 6 & 3] |= 1 << (at & 63);
        at += u32::from(label) + 1;
    }
    None
}

/// Writes a question's name as rules have theirs. What has a zero in a label is no question.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_name(hook: u32) -> u32 {
    let Some(question) = get(hook) else { return 0 };
    let length = question.length as usize & 0xff;
    for at in 0..NAME_BYTES {
        if at >= length {
            question.name.data.bytes[at] = 0;
            break;
        }
        let from = (length - 1 - at) & 0xff;
        let byte = question.text[from];
        if byte == 0 {
            question.length = 0;
            return 0;
        }
        let is_length = (question.lengths[from >> 6] >> (from & 63) & 1) as u8;
        question.name.data.bytes[at] =
            Name::of_length(byte) * is_length + Name::of_letter(byte) * (1 - is_length);
    }
    let told = if length < NAME_BYTES { length + 1 } else { NAME_BYTES };
    question.name.prefix_len = NAME_HEAD_BITS + 8 * told as u32;
    1
}
