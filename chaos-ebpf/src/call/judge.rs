//! Asking the rules of a call.

use core::cell::Cell;

use aya_ebpf::{helpers::generated::bpf_get_current_pid_tgid, macros::map, maps::RingBuf};
use chaos_common::abi::{CallEvent, CallRule, Condition, HeldCall, MAX_RULES, Wait};

use super::{
    What,
    caller::task,
    condition::Call,
    generation::{Kernel, New, Old},
    layout::offset,
    tables::{CALL_RULES, HELD_CALLS},
};
use crate::{
    gate::{self, Firing},
    memory::read,
    target::{self, Answer},
};

/// Sampled firings.
#[map]
pub static CALL_EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// A kernel with its global function.
pub trait Judge: Kernel {
    /// What a call fails with by the rules of a cgroup, or 0.
    fn judge(cgroup: u64, what: u64, first: u64, second: u64, third: u64) -> u32;
}

impl Judge for New {
    #[inline(always)]
    fn judge(cgroup: u64, what: u64, first: u64, second: u64, third: u64) -> u32 {
        call_judge(cgroup, what, first, second, third)
    }
}

impl Judge for Old {
    #[inline(always)]
    fn judge(cgroup: u64, what: u64, first: u64, second: u64, third: u64) -> u32 {
        call_judge_old(cgroup, what, first, second, third)
    }
}

/// What a call fails with, or 0. `leaves_out` says which targets surely have no rule about it. `find` says what it is about,
/// once somebody wants to know; `None` for what is not judged.
#[inline(always)]
pub(super) fn errno<K: Judge>(
    leaves_out: impl Fn(u64) -> bool,
    find: impl Fn() -> Option<Call>,
) -> u32 {
    let errno = Cell::new(0);
    let ask = |cgroup| {
        if leaves_out(cgroup) {
            return Answer::Passed as u32;
        }
        let Some(call) = find() else { return Answer::NoTarget as u32 };
        let said = K::judge(cgroup, call.what.0, call.first, call.second, call.third);
        errno.set(said);
        if said == 0 { Answer::Passed as u32 } else { Answer::Fired as u32 }
    };
    match target::any_rule(|level| K::ancestor(level), || true, || (), ask) {
        Answer::Fired => errno.get(),
        Answer::NoTarget | Answer::Passed | Answer::NeedsPeer => 0,
    }
}

/// What a call fails with by the rules of a cgroup, or 0. A global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_judge(cgroup: u64, what: u64, first: u64, second: u64, third: u64) -> u32 {
    judge(cgroup, |rule| call_ask(rule, what, first, second, third))
}

/// The same on an old kernel.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_judge_old(cgroup: u64, what: u64, first: u64, second: u64, third: u64) -> u32 {
    judge(cgroup, |rule| call_ask_old(rule, what, first, second, third))
}

#[inline(always)]
fn judge(cgroup: u64, ask: impl Fn(u32) -> u32) -> u32 {
    let errno = Cell::new(0);
    let fires = |rule| {
        errno.set(ask(rule));
        errno.get() != 0
    };
    let _ = target::ask(cgroup, || true, fires);
    errno.get()
}

/// What a rule lets a call fail with, or 0. A global function, as above.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_ask(rule: u32, what: u64, first: u64, second: u64, third: u64) -> u32 {
    ask::<New>(rule, Call { what: What(what), first, second, third }).unwrap_or(0)
}

/// The same on an old kernel.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_ask_old(rule: u32, what: u64, first: u64, second: u64, third: u64) -> u32 {
    ask::<Old>(rule, Call { what: What(what), first, second, third }).unwrap_or(0)
}

#[inline(always)]
fn ask<K: Kernel>(id: u32, call: Call) -> Option<u32> {
    let rule = CALL_RULES.get(id % MAX_RULES).filter(|rule| rule.id == id)?;
    if !call.what.is_in(rule) {
        return None;
    }
    // Not behind another call: what a function makes no use of the compiler leaves out of its arguments, and the verifier
    // wants something there all the same.
    let fits = fits(id, rule.conditions, call);
    if rule.errno == 0 {
        call_forget(id);
    }
    if !fits {
        return None;
    }
    let firing = gate::pass::<K::Counter>(id, &rule.gate)?;
    let delay_ns = if rule.errno == 0 { hold(rule, &firing) } else { 0 };
    if firing.report {
        report(rule, call.what, delay_ns, &firing);
    }
    Some(rule.errno)
}

/// Lets the call wait where it asks next whether it may go on, and says how long. All other rules are asked as well.
#[inline(always)]
fn hold(rule: &CallRule, firing: &Firing) -> u64 {
    let delay_ns = rule.hold.time(&rule.gate.dice, firing.n);
    let call = HeldCall { rule: rule.id, thread: thread() };
    let began_ns = read(task(), offset!(task_began)).unwrap_or(0);
    // Where there is no room nobody waits.
    let _ = HELD_CALLS.insert(&call, &Wait { until_ns: firing.now_ns + delay_ns, began_ns }, 0);
    delay_ns
}

/// Forgets that an earlier call of this thread is to wait, if nobody was asked about that one: this one is another.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_forget(rule: u32) -> u32 {
    u32::from(HELD_CALLS.remove(&HeldCall { rule, thread: thread() }).is_ok())
}

/// The thread that calls.
#[inline(always)]
fn thread() -> u32 {
    // SAFETY: takes no arguments.
    unsafe { bpf_get_current_pid_tgid() as u32 }
}

/// Whether a rule with conditions is about a call: what costs little is asked first.
#[inline(always)]
fn fits(id: u32, conditions: u32, call: Call) -> bool {
    const PLAIN: u32 = Condition::Comm as u32 | Condition::Size as u32 | Condition::Files as u32;
    const PATHS: u32 = Condition::Exe as u32 | Condition::Path as u32;
    let Call { what, first, second, third } = call;
    (conditions & PLAIN == 0 || call_fits_plainly(id, what.0, first, second, third) != 0)
        && (!Condition::Socket.is_in(conditions)
            || call_fits_socket(id, what.0, first, second, third) != 0)
        && (conditions & PATHS == 0 || call_fits_paths(id, what.0, first, second, third) != 0)
}

/// Global functions that say 1 if a rule is about a call, as far as they look.
macro_rules! conditions {
    ($($name:ident = |$id:ident, $call:ident, $rule:ident| $fits:expr;)*) => {$(
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $name($id: u32, what: u64, first: u64, second: u64, third: u64) -> u32 {
            let Some($rule) = CALL_RULES.get($id % MAX_RULES) else { return 0 };
            let $call = Call { what: What(what), first, second, third };
            u32::from($fits)
        }
    )*};
}

conditions! {
    call_fits_plainly = |id, call, rule| call.fits_plainly(rule);
    call_fits_socket = |id, call, rule| call.fits_socket(id, rule);
    call_fits_paths = |id, call, rule| call.fits_paths(id, rule);
}

#[inline(always)]
fn report(rule: &CallRule, what: What, delay_ns: u64, firing: &Firing) {
    let Some(mut entry) = CALL_EVENTS.reserve::<CallEvent>(0) else { return };
    // SAFETY: takes no arguments.
    let ids = unsafe { bpf_get_current_pid_tgid() };
    entry.write(CallEvent {
        time_ns: firing.now_ns,
        n: firing.n,
        delay_ns,
        rule: rule.id,
        pid: (ids >> 32) as u32,
        thread: ids as u32,
        errno: rule.errno,
        is_operation: what.is_operation().into(),
        number: what.number(),
    });
    entry.submit(0);
}
