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

/// What came of asking.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// Nobody is a target.
    NoTarget = 0,
    /// Rules were asked, and none fired.
    Passed = 1,
    /// A rule fired, and no other was asked after it.
    Fired = 2,
    /// No rule was asked: there is one that has to know who is at the other end.
    NeedsPeer = 3,
}

impl Answer {
    #[inline(always)]
    const fn of(number: u32) -> Self {
        match number {
            0 => Self::NoTarget,
            1 => Self::Passed,
            2 => Self::Fired,
            _ => Self::NeedsPeer,
        }
    }
}

/// Asks the rules of everything that a packet or call belongs to, its cgroup and the ancestors, from the
/// root down, until one fires.
///
/// `ancestor` gives the id of the ancestor at a level, or 0. `begin` runs once, when the first target is
/// found or something that shares a remainder with one, and says whether to go on. `ask` is [`ask`] by way of a
/// global function, and `find_peer` finds out
/// who is at the other end, if a rule has to know that first. The cost for what is no target is one call of `ancestor` and one bit for each level in use,
/// however many rules there are.
#[inline(always)]
pub fn any_rule(
    ancestor: impl Fn(u32) -> u64,
    mut begin: impl FnMut() -> bool,
    find_peer: impl Fn(),
    ask: impl Fn(u64) -> u32,
) -> Answer {
    let Some(levels) = LEVELS.get(0) else { return Answer::NoTarget };
    let (mut has_begun, mut answer) = (false, Answer::NoTarget);
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
        if !has_begun {
            has_begun = true;
            if !begin() {
                break;
            }
        }
        let mut said = Answer::of(ask(id));
        if said == Answer::NeedsPeer {
            find_peer();
            said = Answer::of(ask(id));
        }
        match said {
            Answer::NoTarget | Answer::NeedsPeer => {}
            Answer::Passed => answer = Answer::Passed,
            Answer::Fired => return Answer::Fired,
        }
    }
    answer
}

/// Asks the rules of one cgroup, in their order, until one fires. An [`Answer`].
#[inline(always)]
pub fn ask(id: u64, knows_peer: impl Fn() -> bool, fires: impl Fn(u32) -> bool) -> u32 {
    // SAFETY: the value stays readable while the program runs. Values are replaced as a whole, but the
    // kernel may give the memory of one that was just removed to another key: for that moment the rules
    // of another target may be asked.
    let Some(target) = (unsafe { TARGETS.get(&id) }) else { return Answer::NoTarget as u32 };
    if target.asks_peer != 0 && !knows_peer() {
        return Answer::NeedsPeer as u32;
    }
    for slot in 0..MAX_RULES_PER_TARGET {
        if slot >= target.len as usize {
            break;
        }
        if fires(target.rules[slot]) {
            return Answer::Fired as u32;
        }
    }
    Answer::Passed as u32
}
