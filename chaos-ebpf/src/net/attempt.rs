//! Attempts to connect, to bind, or to send to an address: judged before there is a packet, and told how they failed.
//!
//! Judged by functions of its own and not by way of [`PACKET`](super::tables::PACKET): all that is known of such a call
//! fits into a few numbers, packets pay nothing for it, and tasks that preempt each other in here do not get into each
//! other's way.

use core::cell::Cell;

use aya_ebpf::{
    bindings::{bpf_func_id::BPF_FUNC_set_retval, bpf_sock_addr},
    helpers::generated::bpf_get_current_ancestor_cgroup_id,
    maps::lpm_trie::Key,
    programs::SockAddrContext,
};
use chaos_common::abi::{
    Action, Direction, MAX_RULES, NetEvent, NetRule, Occupy, Operation, PREFIX_HEAD_BITS,
    PREFIX_PORT_BITS, Prefix, Refuse,
};

use super::{
    call::{ALLOWED, Call},
    filter::{PREFIXES, listed},
    kernel, redirect, report,
    tables::RULES,
};
use crate::{
    counter::{Close, Counter, Exact, Interrupted},
    gate::{self, Firing},
    packet::protocol_bit,
    ports::has_port,
    target::{self, Answer},
};

/// It fails: with what `bpf_set_retval` said, or else with `EPERM`.
const REFUSED: i32 = 0;
/// `EADDRINUSE`, the same on every architecture that runs eBPF.
const ADDRESS_IN_USE: u32 = 98;

/// The verdict on an attempt over one family, by a program that can say any errno (Linux 6.1).
#[inline(always)]
pub fn refuse<C: Judge, const FAMILY: u32, const OPERATION: u32>(ctx: &SockAddrContext) -> i32 {
    let errno = errno::<C, FAMILY, OPERATION>(ctx.sock_addr);
    if errno == 0 { ALLOWED } else { fail_with(errno) }
}

/// The verdict that makes an attempt fail with an errno.
#[inline(always)]
pub fn fail_with(errno: u32) -> i32 {
    /// The highest that there is.
    const MAX_ERRNO: u32 = 4095;
    // Newer kernels want to see that it is one, and look at all 64 bits of the number: so not by way of an `int`.
    let value = -i64::from(errno & MAX_ERRNO);
    // SAFETY: that is the number of the helper; it takes a number.
    unsafe {
        let set_retval: unsafe extern "C" fn(i64) -> i64 =
            core::mem::transmute(BPF_FUNC_set_retval as usize);
        set_retval(value);
    }
    REFUSED
}

/// The same by one that cannot.
#[inline(always)]
pub fn forbid<C: Judge, const FAMILY: u32, const OPERATION: u32>(ctx: &SockAddrContext) -> i32 {
    if errno::<C, FAMILY, OPERATION>(ctx.sock_addr) == 0 { ALLOWED } else { REFUSED }
}

/// How an attempt fails, or 0; it may go elsewhere then. The kernel asks for the cgroup of the socket; which of its
/// ancestors are targets is asked of the process, since nothing tells it of the socket.
///
/// Not inlined: the compiler would keep the verdict on the stack meanwhile, where the verifier forgets what it is.
#[inline(never)]
fn errno<C: Judge, const FAMILY: u32, const OPERATION: u32>(context: *mut bpf_sock_addr) -> u32 {
    // SAFETY: takes a number, and returns 0 where there is no such ancestor.
    let ancestor = |level: u32| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
    let said = Cell::new(0);
    let ask = |cgroup| {
        said.set(C::judge(cgroup, Call::of::<FAMILY, OPERATION>(context)));
        if said.get() == 0 { Answer::Passed as u32 } else { Answer::Fired as u32 }
    };
    target::any_rule(ancestor, || true, || (), ask);
    let said = said.get();
    if OPERATION == Operation::Bind as u32 {
        return said as u32;
    }
    match elsewhere(said) {
        0 => {
            if OPERATION == Operation::Connect as u32 && said == 0 {
                redirect::forget(context);
            }
            said as u32
        }
        rule => {
            redirect::turn(context, FAMILY, Call::of::<FAMILY, OPERATION>(context), rule);
            0
        }
    }
}

/// By which rule a call goes elsewhere, or 0: the upper half of what judges say. The lower one is how it fails.
#[inline(always)]
const fn elsewhere(said: u64) -> u32 {
    (said >> 32) as u32
}

/// Whether a rule is about a call.
#[inline(always)]
fn fits(call: Call, id: u32, rule: &NetRule) -> bool {
    match rule.action {
        action if action == Action::Refuse as u32 => {
            Refuse::of(&rule.parameters).operations >> (call.operation() & 63) & 1 != 0
                && goes_there(call, id, rule)
        }
        action if action == Action::Redirect as u32 => {
            !call.binds() && goes_there(call, id, rule) && !redirect::is_there(call, rule)
        }
        action if action == Action::Occupy as u32 => call.binds() && is_in_the_way(call, id, rule),
        _ => false,
    }
}

#[inline(always)]
fn goes_there(call: Call, id: u32, rule: &NetRule) -> bool {
    let filter = &rule.filter;
    (filter.protocols == 0 || filter.protocols & protocol_bit(call.protocol()) != 0)
        && has_port(&filter.remote_ports, true, call.port())
        && listed(id, filter, call.family(), call.bytes()) == Some(true)
}

#[inline(always)]
fn is_in_the_way(call: Call, id: u32, rule: &NetRule) -> bool {
    let port = Key::new(PREFIX_HEAD_BITS + PREFIX_PORT_BITS, Prefix::port(id, call.port()));
    rule.filter.protocols & protocol_bit(call.protocol()) != 0
        && Occupy::of(&rule.parameters).meets(call.family(), call.address, call.takes_v4())
        && PREFIXES.get(&port).is_some()
}

/// Which of the twins below a program calls.
pub trait Judge: Counter {
    /// How a call fails by the rules of a cgroup, or by which it goes [elsewhere]; or 0.
    fn judge(cgroup: u64, call: Call) -> u64;
}

impl Judge for Exact {
    #[inline(always)]
    fn judge(cgroup: u64, Call { what, address: [first, second] }: Call) -> u64 {
        net_judge_call(cgroup, what, first, second)
    }
}

impl Judge for Close {
    #[inline(always)]
    fn judge(cgroup: u64, Call { what, address: [first, second] }: Call) -> u64 {
        net_judge_call_close(cgroup, what, first, second)
    }
}

// Global functions: see `judge`.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge_call(cgroup: u64, what: u64, first: u64, second: u64) -> u64 {
    first_verdict(cgroup, |rule| net_ask_call(rule, what, first, second))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge_call_close(cgroup: u64, what: u64, first: u64, second: u64) -> u64 {
    first_verdict(cgroup, |rule| net_ask_call_close(rule, what, first, second))
}

#[inline(always)]
fn first_verdict(cgroup: u64, ask: impl Fn(u32) -> u64) -> u64 {
    let said = Cell::new(0);
    let fires = |rule| {
        said.set(ask(rule));
        said.get() != 0
    };
    target::ask(cgroup, || true, fires);
    said.get()
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_ask_call(rule: u32, what: u64, first: u64, second: u64) -> u64 {
    ask::<Exact>(rule, Call { what, address: [first, second] }).unwrap_or(0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_ask_call_close(rule: u32, what: u64, first: u64, second: u64) -> u64 {
    ask::<Close>(rule, Call { what, address: [first, second] }).unwrap_or(0)
}

/// 1 if a rule is about a call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_matches_call(id: u32, what: u64, first: u64, second: u64) -> u32 {
    let call = Call { what, address: [first, second] };
    RULES.get(id % MAX_RULES).map_or(0, |rule| u32::from(fits(call, id, rule)))
}

/// What becomes of a call by one rule, if anything.
#[inline(always)]
fn ask<C: Counter>(id: u32, call: Call) -> Option<u64> {
    let rule = RULES.get(id % MAX_RULES).filter(|rule| rule.id == id)?;
    let [first, second] = call.address;
    if net_matches_call(id, call.what, first, second) == 0 {
        return None;
    }
    let firing = gate::pass::<Interrupted<C>>(id, &rule.gate)?;
    let errno = match rule.action {
        action if action == Action::Refuse as u32 => Refuse::of(&rule.parameters).errno as u32,
        action if action == Action::Redirect as u32 => redirect::errno(call, rule),
        _ => ADDRESS_IN_USE,
    };
    if firing.report {
        report(id, call, errno, &firing);
    }
    Some(if errno == 0 { u64::from(id) << 32 } else { errno.into() })
}

#[inline(always)]
fn report(rule: u32, call: Call, errno: u32, firing: &Firing) {
    let (this, other) = ((call.bytes(), call.port()), ([0; 16], 0));
    let (local, remote) = if call.binds() { (this, other) } else { (other, this) };
    report::submit(|| NetEvent {
        time_ns: firing.now_ns,
        n: firing.n,
        rule,
        pid: kernel::current_process(),
        length: 0,
        local_port: local.1,
        remote_port: remote.1,
        family: call.family(),
        protocol: call.protocol() as u16,
        direction: Direction::Out as u16,
        local: local.0,
        remote: remote.0,
        errno,
        operation: call.operation(),
    });
}
