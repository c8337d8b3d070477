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
    Action, Direction, FAMILY_V4, FAMILY_V6, MAX_RULES, NetEvent, NetRule, Occupy, Operation,
    PREFIX_HEAD_BITS, PREFIX_PORT_BITS, Prefix, Refuse,
};

use super::{
    filter::{PREFIXES, listed},
    kernel::{self, LAYOUT},
    redirect, report,
    tables::RULES,
};
use crate::{
    counter::{Close, Counter, Exact, Interrupted},
    gate::{self, Firing},
    memory::{self, number},
    packet::protocol_bit,
    ports::has_port,
    target::{self, Answer},
};

/// It may go on.
pub(super) const ALLOWED: i32 = 1;
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

/// How an attempt fails, or 0; it may go elsewhere then. The kernel asks for the cgroup of the socket; which of its ancestors are targets is
/// asked of the process, since nothing tells it of the socket.
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
    match elsewhere(said.get()) {
        0 => said.get() as u32,
        _ if OPERATION == Operation::Bind as u32 => 0,
        rule => redirect::turn(context, FAMILY, Call::of::<FAMILY, OPERATION>(context), rule),
    }
}

/// By which rule a call goes elsewhere, or 0: the upper half of what judges say. The lower one is how it fails.
#[inline(always)]
const fn elsewhere(said: u64) -> u32 {
    (said >> 32) as u32
}

/// One call, as global functions take it: in numbers.
#[derive(Clone, Copy)]
pub struct Call {
    /// The port, then the protocol, in 16 bits each; then the family, which [`Operation`] it is, and 1 if a socket at
    /// all of IPv6 takes IPv4 too, in 8 bits each.
    what: u64,
    /// In network byte order, in memory. Of what binds its own, else of the other end, and so is the port.
    pub(super) address: [u64; 2],
}

impl Call {
    #[inline(always)]
    fn of<const FAMILY: u32, const OPERATION: u32>(context: *const bpf_sock_addr) -> Self {
        let (protocol, port, words) = read(context, FAMILY);
        let (family, words) = if FAMILY == FAMILY_V6 && is_mapped(&words) {
            (FAMILY_V4, [words[3], 0, 0, 0])
        } else {
            (FAMILY, words)
        };
        let takes_v4 = OPERATION == Operation::Bind as u32
            && family == FAMILY_V6
            && words == [0; 4]
            && takes_v4(context);
        let what = u64::from(port)
            | u64::from(protocol & 0xffff) << 16
            | u64::from(family) << 32
            | u64::from(OPERATION) << 40
            | u64::from(takes_v4) << 48;
        Self { what, address: [join(words[0], words[1]), join(words[2], words[3])] }
    }

    #[inline(always)]
    pub(super) const fn port(self) -> u16 {
        self.what as u16
    }

    #[inline(always)]
    const fn protocol(self) -> u32 {
        (self.what >> 16) as u32 & 0xffff
    }

    #[inline(always)]
    pub(super) const fn family(self) -> u32 {
        (self.what >> 32) as u32 & 0xff
    }

    #[inline(always)]
    pub(super) const fn operation(self) -> u32 {
        (self.what >> 40) as u32 & 0xff
    }

    #[inline(always)]
    const fn binds(self) -> bool {
        self.operation() == Operation::Bind as u32
    }

    #[inline(always)]
    const fn takes_v4(self) -> bool {
        self.what >> 48 != 0
    }

    /// The address as rules and events have it.
    #[inline(always)]
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&self.address[1].to_ne_bytes());
        bytes
    }

    /// Whether a rule is about it.
    #[inline(always)]
    fn fits(self, id: u32, rule: &NetRule) -> bool {
        match rule.action {
            action if action == Action::Refuse as u32 => {
                Refuse::of(&rule.parameters).operations >> (self.operation() & 63) & 1 != 0
                    && self.goes_there(id, rule)
            }
            action if action == Action::Redirect as u32 => {
                !self.binds() && self.goes_there(id, rule) && !redirect::is_there(self, rule)
            }
            action if action == Action::Occupy as u32 => {
                self.binds() && self.is_in_the_way(id, rule)
            }
            _ => false,
        }
    }

    #[inline(always)]
    fn goes_there(self, id: u32, rule: &NetRule) -> bool {
        let filter = &rule.filter;
        (filter.protocols == 0 || filter.protocols & protocol_bit(self.protocol()) != 0)
            && has_port(&filter.remote_ports, true, self.port())
            && listed(id, filter, self.family(), self.bytes()) == Some(true)
    }

    #[inline(always)]
    fn is_in_the_way(self, id: u32, rule: &NetRule) -> bool {
        let port = Key::new(PREFIX_HEAD_BITS + PREFIX_PORT_BITS, Prefix::port(id, self.port()));
        rule.filter.protocols & protocol_bit(self.protocol()) != 0
            && Occupy::of(&rule.parameters).meets(self.family(), self.address, self.takes_v4())
            && PREFIXES.get(&port).is_some()
    }
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
    RULES.get(id % MAX_RULES).map_or(0, |rule| u32::from(call.fits(id, rule)))
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
        action if action == Action::Redirect as u32 => 0,
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

/// Protocol, port, and the address in as many words as it has. Of the two the verifier lets a program read only the
/// address of its own family.
#[inline(always)]
pub(super) fn read(address: *const bpf_sock_addr, family: u32) -> (u32, u16, [u32; 4]) {
    // SAFETY: the context is valid while the program runs. Volatile, since it may be read in words only.
    unsafe {
        let protocol = (&raw const (*address).protocol).read_volatile();
        let port = (&raw const (*address).user_port).read_volatile();
        let words = if family == FAMILY_V4 {
            [(&raw const (*address).user_ip4).read_volatile(), 0, 0, 0]
        } else {
            let word = |at: usize| (&raw const (*address).user_ip6[at]).read_volatile();
            [word(0), word(1), word(2), word(3)]
        };
        (protocol, u16::from_be(port as u16), words)
    }
}

/// Whether an IPv6 address stands for one of IPv4 (RFC 4291, 2.5.5.2).
#[inline(always)]
pub(super) const fn is_mapped(words: &[u32; 4]) -> bool {
    words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be()
}

/// Whether a socket that would be bound to all of IPv6 would take IPv4 as well; false while no rule needs to know.
#[inline(always)]
fn takes_v4(context: *const bpf_sock_addr) -> bool {
    let Some(bit) = LAYOUT.get(0).map(|layout| layout.sock_v6only).filter(|bit| *bit != 0) else {
        return false;
    };
    // SAFETY: the context is valid while the program runs.
    let socket = unsafe { (&raw const (*context).__bindgen_anon_1.sk).read_volatile() };
    let Some(address) = number(socket) else { return false };
    // `sock_common` is what every socket begins with.
    memory::read::<u8>(address, bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 0)
}

/// Two words behind each other.
#[inline(always)]
pub(super) fn join(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
