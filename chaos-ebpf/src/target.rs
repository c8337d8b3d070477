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

/// The targets that one packet or call belongs to: its cgroup and ancestors, from the root down.
#[repr(C)]
pub struct Found {
    /// How many of `targets` count.
    pub len: u32,
    /// Copies, since a program may keep no pointer into a map in another map.
    pub targets: [TargetRules; MAX_LEVELS],
}

impl Found {
    /// Finds them all. False if there are none.
    ///
    /// `ancestor` gives the id of the ancestor at a level, or 0. The cost for what is no target is one
    /// such call and one look-up for each level in use, however many rules there are.
    #[inline(always)]
    pub fn find(&mut self, ancestor: impl Fn(u32) -> u64) -> bool {
        // Counted in memory and not in a register: the verifier need not tell apart how many were found,
        // and looks at what follows once.
        let len = &raw mut self.len;
        // SAFETY: the pointer comes from the reference above.
        unsafe { len.write_volatile(0) };
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
            // SAFETY: as above.
            let slot = unsafe { len.read_volatile() };
            if let Some(place) = self.targets.get_mut(slot as usize) {
                // An assignment becomes a call that copies byte by byte.
                place.len = target.len;
                for rule in 0..MAX_RULES_PER_TARGET {
                    // SAFETY: both are inside the arrays; volatile keeps the loop from becoming that call.
                    unsafe {
                        let from = (&raw const target.rules[rule]).read_volatile();
                        (&raw mut place.rules[rule]).write_volatile(from);
                    }
                }
                // SAFETY: as above.
                unsafe { len.write_volatile(slot + 1) };
            }
        }
        // SAFETY: as above.
        unsafe { len.read_volatile() > 0 }
    }

    /// Asks each rule in turn, until one says yes.
    #[inline(always)]
    pub fn any_rule(&self, fires: impl Fn(u32) -> bool) -> bool {
        for at in 0..MAX_LEVELS {
            if at >= self.len as usize {
                break;
            }
            let target = &self.targets[at];
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
}
