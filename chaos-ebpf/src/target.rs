//! Which rules a socket's cgroup has.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    macros::map,
    maps::{Array, HashMap},
};
use chaos_common::abi::{
    Levels, MAX_LEVELS, MAX_RULES, MAX_RULES_PER_TARGET, TARGET_WORDS, TargetRules, target_bit,
};

/// Cgroup id → its rules.
#[map]
pub static TARGETS: HashMap<u64, TargetRules> =
    HashMap::with_max_entries(MAX_RULES, BPF_F_NO_PREALLOC);

/// Which cgroups may be targets; see [`target_bit`].
#[map]
pub static TARGET_BITS: Array<u64> = Array::with_max_entries(TARGET_WORDS, 0);

/// One entry: the depths at which targets sit. A program may read it while it changes, and then ask a depth
/// twice or not at all, for one packet.
#[map]
pub static LEVELS: Array<Levels> = Array::with_max_entries(1, 0);

/// Asks the rules of everything that a packet or call belongs to, its cgroup and the ancestors, from the
/// root down, until one fires.
///
/// `ancestor` gives the id of the ancestor at a level, or 0. `begin` runs once, when the first target is
/// found, and says whether to go on. The cost for what is no target is one call of `ancestor` and one
/// bit for each level in use, however many rules there are; only who shares a remainder with a target pays a
/// look-up more.
#[inline(always)]
pub fn any_rule(
    ancestor: impl Fn(u32) -> u64,
    mut begin: impl FnMut() -> bool,
    fires: impl Fn(u32) -> bool,
) -> bool {
    let Some(levels) = LEVELS.get(0) else { return false };
    let mut has_begun = false;
    for at in 0..MAX_LEVELS {
        if at >= levels.len as usize {
            break;
        }
        let id = ancestor(levels.levels[at]);
        if id == 0 {
            continue;
        }
        let (word, bit) = target_bit(id);
        if TARGET_BITS.get(word).is_none_or(|bits| bits & bit == 0) {
            continue;
        }
        // SAFETY: the value stays readable while the program runs. Values are replaced as a whole, but the
        // kernel may give the memory of one that was just removed to another key: for that moment the rules
        // of another target may be asked.
        let Some(target) = (unsafe { TARGETS.get(&id) }) else { continue };
        if !has_begun {
            has_begun = true;
            if !begin() {
                return false;
            }
        }
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
