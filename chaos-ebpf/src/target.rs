//! Which rules a socket's cgroup has.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap},
};
use chaos_common::abi::{Levels, MAX_LEVELS, MAX_RULES_PER_TARGET, TargetRules};

/// Targets that one node can have.
pub const MAX_TARGETS: u32 = 32_768;

/// Cgroup id → its rules.
#[map]
pub static TARGETS: HashMap<u64, TargetRules> =
    HashMap::with_max_entries(MAX_TARGETS, BPF_F_NO_PREALLOC);

/// One entry: the depths at which targets sit.
#[map]
pub static LEVELS: Array<Levels> = Array::with_max_entries(1, 0);

/// Asks each rule of a cgroup and of its ancestors, from the root down, until one says yes.
///
/// `ancestor` gives the id of the ancestor at a level, or 0. The cost for what is no target is one
/// such call and one look-up for each level in use, however many rules there are.
#[inline(always)]
pub fn any_rule(ancestor: impl Fn(u32) -> u64, mut fires: impl FnMut(u32) -> bool) -> bool {
    let Some(levels) = LEVELS.get(0) else { return false };
    for at in 0..MAX_LEVELS {
        if at >= levels.len as usize {
            break;
        }
        let id = ancestor(levels.levels[at]);
        if id == 0 {
            continue;
        }
        // SAFETY: values are replaced as a whole and freed after a grace period.
        let Some(target) = (unsafe { TARGETS.get(&id) }) else { continue };
        for slot in 0..MAX_RULES_PER_TARGET {
            if slot >= target.len as usize {
                break;
            }
            if fires(target.rules[slot]) {
                return true;
            }
        }
    }
    false
}
