//! The gate: what decides whether a rule fires now.
//!
//! `now < deadline && now < lease && dice && budget`, in this order, after the engine's own filters.
//! Every refusal is counted under its reason.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::map,
    maps::{Array, HashMap, PerCpuHashMap},
};
use chaos_common::abi::{Gate, MAX_RULES, RuleState, RuleStats};

use crate::counter::Counter;

/// Least time between two reports of one rule.
const REPORT_INTERVAL_NS: u64 = 10_000_000;

/// One entry: until when the daemon counts as alive, in nanoseconds of the boot clock.
#[map]
pub static LEASE: Array<u64> = Array::with_max_entries(1, 0);

/// Rule id → what the rule remembers.
#[map]
pub static STATE: HashMap<u32, RuleState> = HashMap::with_max_entries(MAX_RULES, BPF_F_NO_PREALLOC);

/// Rule id → what it saw, per CPU.
#[map]
pub static STATS: PerCpuHashMap<u32, RuleStats> =
    PerCpuHashMap::with_max_entries(MAX_RULES, BPF_F_NO_PREALLOC);

/// A rule that fires.
pub struct Firing {
    /// The event's number within the rule.
    pub n: u64,
    /// Now, on the boot clock.
    pub now_ns: u64,
    /// Whether this one is reported.
    pub report: bool,
}

/// Whether the time of a gate is over, for whatever reason.
#[inline(always)]
pub fn is_over(gate: &Gate) -> bool {
    // SAFETY: takes no arguments and only reads the clock.
    let now_ns = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: points to a map value that lives at least until the program ends; volatile as in `pass`.
    let lease = LEASE.get_ptr(0).map_or(0, |lease| unsafe { lease.read_volatile() });
    now_ns >= gate.deadline_ns || now_ns >= lease
}

/// Asks the gate about one event that matched the rule's filters.
///
/// Where packets are judged, bottom halves are disabled (tc, cgroup_skb), so nothing else on this CPU counts in between.
/// Calls may interrupt each other on a kernel that preempts itself: they count as
/// [`Interrupted`](crate::counter::Interrupted).
#[inline(always)]
pub fn pass<C: Counter>(rule: u32, gate: &Gate) -> Option<Firing> {
    pass_chosen::<C>(rule, gate, false)
}

/// The same of an event that may be chosen already: its dice are cast then, and not asked.
#[inline(always)]
pub fn pass_chosen<C: Counter>(rule: u32, gate: &Gate, is_chosen: bool) -> Option<Firing> {
    let stats = STATS.get_ptr_mut(&rule)?;
    let state = STATE.get_ptr_mut(&rule)?;
    // SAFETY: both point to map values of these types that live at least until the program ends.
    // Reads and writes of single words are volatile because other CPUs write them too.
    unsafe {
        let count = |number| C::count(number);
        count(&raw mut (*stats).matched);
        // SAFETY: takes no arguments and only reads the clock.
        let now_ns = bpf_ktime_get_boot_ns();
        if now_ns >= gate.deadline_ns {
            count(&raw mut (*stats).past_deadline);
            return None;
        }
        let lease = LEASE.get_ptr(0)?;
        if now_ns >= lease.read_volatile() {
            count(&raw mut (*stats).past_lease);
            return None;
        }
        let n = C::take(&raw mut (*state).events);
        let before = (&raw const (*state).state).read_volatile() as u32;
        let roll = gate.dice.roll(n, before);
        if roll.state != before {
            (&raw mut (*state).state).write_volatile(u64::from(roll.state));
        }
        if !roll.fires && !is_chosen {
            count(&raw mut (*stats).spared);
            return None;
        }
        if gate.budget != u64::MAX && C::take(&raw mut (*state).claims) >= gate.budget {
            count(&raw mut (*stats).over_budget);
            return None;
        }
        count(&raw mut (*stats).fired);
        let report_after = &raw mut (*state).report_after_ns;
        let report = now_ns >= report_after.read_volatile();
        if report {
            report_after.write_volatile(now_ns + REPORT_INTERVAL_NS);
        }
        Some(Firing { n, now_ns, report })
    }
}
