//! Attempts to bind a socket to a port, told that somebody has it.
//!
//! Judged by functions of its own and not by way of [`PACKET`](super::tables::PACKET): all that is known of such a call
//! fits into a few numbers, and whatever packets are asked costs them nothing more.

use aya_ebpf::{
    bindings::bpf_sock_addr, helpers::generated::bpf_get_current_ancestor_cgroup_id,
    maps::lpm_trie::Key, programs::SockAddrContext,
};
use chaos_common::abi::{
    Action, Direction, FAMILY_V4, FAMILY_V6, MAX_RULES, NetEvent, NetRule, Occupy,
    PREFIX_HEAD_BITS, PREFIX_PORT_BITS, Prefix,
};

use super::{
    attempt::{ALLOWED, fail_with, is_mapped, read},
    filter::PREFIXES,
    kernel::{self, LAYOUT},
    report,
    tables::RULES,
};
use crate::{
    counter::{Exact, Interrupted},
    gate::{self, Firing},
    memory::{self, number},
    packet::protocol_bit,
    target::{self, Answer},
};

/// One call, as global functions take it: in numbers.
#[derive(Clone, Copy)]
struct Call {
    /// The port, then the protocol, in 16 bits each; then the family, and 1 if a socket at all of IPv6 takes IPv4 too,
    /// in 8 bits each.
    what: u64,
    /// In network byte order, in memory.
    address: [u64; 2],
}

impl Call {
    #[inline(always)]
    fn of<const FAMILY: u32>(context: *const bpf_sock_addr) -> Self {
        let (protocol, port, words) = read(context, FAMILY);
        let (family, words) = if FAMILY == FAMILY_V6 && is_mapped(&words) {
            (FAMILY_V4, [words[3], 0, 0, 0])
        } else {
            (FAMILY, words)
        };
        let takes_v4 = family == FAMILY_V6 && words == [0; 4] && takes_v4(context);
        let what = u64::from(port)
            | u64::from(protocol & 0xffff) << 16
            | u64::from(family) << 32
            | u64::from(takes_v4) << 40;
        Self { what, address: [join(words[0], words[1]), join(words[2], words[3])] }
    }

    #[inline(always)]
    const fn port(self) -> u16 {
        self.what as u16
    }

    #[inline(always)]
    const fn protocol(self) -> u32 {
        (self.what >> 16) as u32 & 0xffff
    }

    #[inline(always)]
    const fn family(self) -> u32 {
        (self.what >> 32) as u32 & 0xff
    }

    #[inline(always)]
    const fn takes_v4(self) -> bool {
        self.what >> 40 != 0
    }

    /// The address as an event has it.
    #[inline(always)]
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&self.address[1].to_ne_bytes());
        bytes
    }
}

/// `EADDRINUSE`, the same on every architecture that runs eBPF.
const ADDRESS_IN_USE: u32 = 98;

/// The verdict on a call over one family.
#[inline(always)]
pub fn bind<const FAMILY: u32>(ctx: &SockAddrContext) -> i32 {
    if is_refused::<FAMILY>(ctx.sock_addr) { fail_with(ADDRESS_IN_USE) } else { ALLOWED }
}

/// Not inlined: see [`attempt`](super::attempt).
#[inline(never)]
fn is_refused<const FAMILY: u32>(context: *const bpf_sock_addr) -> bool {
    // SAFETY: takes a number, and returns 0 where there is no such ancestor.
    let ancestor = |level: u32| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
    let ask = |cgroup| {
        let Call { what, address: [first, second] } = Call::of::<FAMILY>(context);
        net_judge_bind(cgroup, what, first, second)
    };
    target::any_rule(ancestor, || true, || (), ask) == Answer::Fired
}

/// What the rules of a cgroup say of a call: an [`Answer`]. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge_bind(cgroup: u64, what: u64, first: u64, second: u64) -> u32 {
    target::ask(cgroup, || true, |rule| net_ask_bind(rule, what, first, second) != 0)
}

/// 1 if a rule fires for a call. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_ask_bind(id: u32, what: u64, first: u64, second: u64) -> u32 {
    let call = Call { what, address: [first, second] };
    u32::from(ask(id, call).is_some())
}

/// Asks one rule. Where a call can fail as this does, counting is exact too.
#[inline(always)]
fn ask(id: u32, call: Call) -> Option<()> {
    let rule = RULES.get(id % MAX_RULES).filter(|rule| rule.id == id)?;
    if rule.action != Action::Occupy as u32 || !is_about(rule, call) {
        return None;
    }
    let port = Key::new(PREFIX_HEAD_BITS + PREFIX_PORT_BITS, Prefix::port(id, call.port()));
    PREFIXES.get(&port)?;
    let firing = gate::pass::<Interrupted<Exact>>(id, &rule.gate)?;
    if firing.report {
        report(id, call, &firing);
    }
    Some(())
}

#[inline(always)]
fn is_about(rule: &NetRule, call: Call) -> bool {
    rule.filter.protocols & protocol_bit(call.protocol()) != 0
        && Occupy::of(&rule.parameters).meets(call.family(), call.address, call.takes_v4())
}

#[inline(always)]
fn report(rule: u32, call: Call, firing: &Firing) {
    report::submit(|| NetEvent {
        time_ns: firing.now_ns,
        n: firing.n,
        rule,
        pid: kernel::current_process(),
        length: 0,
        local_port: call.port(),
        remote_port: 0,
        family: call.family(),
        protocol: call.protocol() as u16,
        direction: Direction::Out as u16,
        local: call.bytes(),
        remote: [0; 16],
    });
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
fn join(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
