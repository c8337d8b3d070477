//! The rules, what they are about, and what is known of system calls.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, ProgramArray},
};
use chaos_common::abi::{
    Abi, CallRule, Glob, GlobKey, HeldCall, MAX_CALLS, MAX_RULES, Prefix, Signature, Wait,
};

/// Rule id by its remainder → rule.
#[map]
pub(super) static CALL_RULES: Array<CallRule> = Array::with_max_entries(MAX_RULES, 0);

/// (Rule, whose) → patterns of paths.
#[map]
pub(super) static GLOBS: HashMap<GlobKey, Glob> =
    HashMap::with_max_entries(2 * MAX_RULES, BPF_F_NO_PREALLOC);

/// Remote addresses of all rules.
#[map]
pub(super) static CALL_PREFIXES: LpmTrie<Prefix, u32> = LpmTrie::with_max_entries(1 << 20, 0);

/// How it was entered and its number → system call: those of 64-bit programs come first.
#[map]
pub(super) static SIGNATURES: Array<Signature> = Array::with_max_entries(2 * MAX_CALLS as u32, 0);

/// Call that is to wait → until when. Whoever holds it takes it from here; of what nobody takes the oldest make room.
#[map]
pub(super) static HELD_CALLS: LruHashMap<HeldCall, Wait> = LruHashMap::with_max_entries(1 << 14, 0);

/// [`Abi`] → program that others go on with.
#[map]
pub(super) static CALL_BODIES: ProgramArray = ProgramArray::with_max_entries(Abi::COUNT as u32, 0);
