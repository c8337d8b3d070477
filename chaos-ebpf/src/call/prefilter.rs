//! What is asked of a call before anything is looked up for it: whether one of its target's rules may be about it.

use aya_ebpf::{macros::map, maps::Array};
use chaos_common::abi::{
    CALL_WORDS, NO_ARGUMENT, PREFILTERS as PLACES, Prefilter, Signature, Start,
};

use super::{caller, generation::Kernel, layout::offset, place::Seen};
use crate::memory::{follow, read, read_user};

/// Remainder of a cgroup's id → what its rules have in common.
#[map]
static PREFILTERS: Array<Prefilter> = Array::with_max_entries(PLACES, 0);

/// Names that a path may have for its first one to be found.
const MAX_NAMES: usize = 12;

/// Whether the rules of a cgroup are surely about no such call. `admits` asks what they have in common, if that is known.
#[inline(always)]
pub(super) fn leaves_out(cgroup: u64, admits: impl Fn(&Prefilter) -> bool) -> bool {
    let filter = PREFILTERS.get(cgroup as u32 % PLACES);
    filter.is_some_and(|filter| word(&filter.cgroup) == cgroup && !admits(filter))
}

/// A word of it, as the daemon may write it at this moment.
#[inline(always)]
fn word<T: Copy>(word: &T) -> T {
    // SAFETY: a reference can be read.
    unsafe { core::ptr::from_ref(word).read_volatile() }
}

/// How something has to begin, and whether that is anything.
#[inline(always)]
fn asked(start: &Start) -> Option<Start> {
    Some(word(start)).filter(|start| !start.is_any())
}

/// Whether rules may be about one of these operations, on what lies at a place.
#[inline(always)]
pub(super) fn admits_operation<K: Kernel>(
    filter: &Prefilter,
    operations: u64,
    place: impl Fn() -> Option<Seen>,
) -> bool {
    let admits_place = |top| place().is_none_or(|place| admits_place::<K>(top, place));
    word(&filter.operations) & operations != 0
        && admits_thread(filter)
        && asked(&filter.top).is_none_or(admits_place)
}

/// Whether rules may be about a system call. `argument` gives the first three of it.
#[inline(always)]
pub(super) fn admits_syscall(
    filter: &Prefilter,
    signature: &Signature,
    argument: impl Fn(u8) -> Option<u64>,
) -> bool {
    let number = u32::from(signature.native - 1);
    let calls = word(&filter.calls[number as usize / 64 % CALL_WORDS]);
    calls >> (number % 64) & 1 != 0
        && admits_thread(filter)
        && asked(&filter.path).is_none_or(|start| admits_path(start, signature, argument))
}

#[inline(always)]
fn admits_thread(filter: &Prefilter) -> bool {
    asked(&filter.comm)
        .is_none_or(|start| caller::comm_start().is_none_or(|text| start.admits(text)))
}

/// Of a call that names one path, and nothing else that has one.
#[inline(always)]
fn admits_path(start: Start, signature: &Signature, argument: impl Fn(u8) -> Option<u64>) -> bool {
    if signature.second_path != NO_ARGUMENT || signature.file != NO_ARGUMENT {
        return true;
    }
    // Near the end of what can be read there may be no eight bytes.
    let Some(text) = argument(signature.path).and_then(read_user::<u64>) else { return true };
    // Other paths begin where the process says.
    text as u8 != b'/' || start.admits(text)
}

/// Of what lies on the same mount as the process's root, where its path has no other mount's names: by the first name.
#[inline(always)]
fn admits_place<K: Kernel>(top: Start, place: Seen) -> bool {
    let Some(task) = K::task() else { return true };
    // SAFETY: these are members of what the pointers lead to, as the kernel's types say.
    unsafe {
        let own: *const u8 = follow(task, offset!(task_fs));
        let root = Seen::at(own, offset!(fs_root));
        if place.mount != root.mount {
            return true;
        }
        let mut at = place.dentry;
        for _ in 0..MAX_NAMES {
            let parent: *const u8 = follow(at, offset!(dentry_parent));
            if parent == root.dentry {
                let name = follow(at, offset!(dentry_name));
                return read::<u64>(name, 0).is_none_or(|text| top.admits(text));
            }
            at = parent;
        }
    }
    true
}
