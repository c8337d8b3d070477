//! Engine `net`: packets of a cgroup.
//!
//! * Out: `tc` egress of every interface of the target's network namespaces. A packet that is to be
//!   lost is redirected to interface 0, which never exists: the kernel frees it and tells the sender
//!   that it went out (`skb_do_redirect`, `NET_XMIT_SUCCESS`), as if a wire had lost it. The same
//!   verdict works under clsact and under tcx, which has no `TC_ACT_STOLEN`.
//! * In: `cgroup_skb` ingress of the target, where the socket is about to take the packet.
//!
//! Every other verdict leaves the packet to whoever comes next.
#![no_std]
#![no_main]

use aya_ebpf::{
    EbpfContext,
    bindings::__sk_buff,
    helpers::generated::{
        bpf_get_current_task, bpf_probe_read_kernel, bpf_redirect, bpf_skb_ancestor_cgroup_id,
    },
    macros::{cgroup_skb, classifier, map},
    maps::{Array, LpmTrie, PerCpuArray, RingBuf, lpm_trie::Key},
    programs::{SkBuffContext, TcContext},
};
use chaos_common::abi::{
    Direction, MAX_PORT_RANGES, MAX_RULES, NetEvent, NetRule, PREFIX_HEAD_BITS, PREFIX_INCLUDE,
    PortSet, Prefix, Remotes,
};
use chaos_ebpf::{
    counter::{Close, Counter, Exact},
    gate::{self, Firing},
    packet::Packet,
    target,
};

/// Rule id by its remainder → rule. An array, since the kernel makes a look-up in one a few instructions.
#[map]
static RULES: Array<NetRule> = Array::with_max_entries(MAX_RULES, 0);

/// Remote addresses of all rules.
#[map]
static PREFIXES: LpmTrie<Prefix, u32> = LpmTrie::with_max_entries(1 << 20, 0);

/// Sampled firings.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// The packet that this CPU is judging, at the index of its direction.
#[map]
static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(3, 0);

/// Written into `tc_index` of a target's packet that has been judged, so that stacked devices (a VLAN
/// on a bond on a NIC) judge it once. Set by the loader; differs between instances.
#[unsafe(no_mangle)]
static JUDGED: u16 = 0;

/// One entry: the offset of `tgid` in `struct task_struct`, or 0 while nobody wants to know.
#[map]
static TGID_OFFSET: Array<u32> = Array::with_max_entries(1, 0);

/// Let the next program, and in the end the kernel, decide. The same number under clsact
/// (`TC_ACT_UNSPEC`) and tcx (`TCX_NEXT`).
const NEXT: i32 = -1;
/// The socket gets the packet.
const DELIVER: i32 = 1;
/// The socket does not.
const DISCARD: i32 = 0;

#[classifier]
fn net_out(ctx: TcContext) -> i32 {
    out::<Exact>(&ctx)
}

#[classifier]
fn net_out_close(ctx: TcContext) -> i32 {
    out::<Close>(&ctx)
}

#[cgroup_skb]
fn net_in(ctx: SkBuffContext) -> i32 {
    incoming::<Exact>(&ctx)
}

#[cgroup_skb]
fn net_in_close(ctx: SkBuffContext) -> i32 {
    incoming::<Close>(&ctx)
}

#[inline(always)]
fn out<C: Judge>(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // SAFETY: the loader replaces the value before the program is loaded.
    let judged = u32::from(unsafe { (&raw const JUDGED).read_volatile() });
    // SAFETY: the context is valid while the program runs.
    if unsafe { (*skb).tc_index } == judged {
        return NEXT;
    }
    if lost::<C>(ctx, Direction::Out, || {
        // SAFETY: as above; the field may be written in tc programs.
        unsafe { (*skb).tc_index = judged };
    }) {
        // SAFETY: takes two numbers.
        unsafe { bpf_redirect(0, 0) as i32 }
    } else {
        NEXT
    }
}

#[inline(always)]
fn incoming<C: Judge>(ctx: &SkBuffContext) -> i32 {
    if lost::<C>(ctx, Direction::In, || ()) { DISCARD } else { DELIVER }
}

/// Whether a rule makes this packet vanish. `seen` runs when the packet is a target's.
#[inline(always)]
fn lost<C: Judge>(ctx: &impl EbpfContext, direction: Direction, seen: impl Fn()) -> bool {
    target::any_rule(
        // SAFETY: the helper takes the context and a number, and returns 0 for what has no socket.
        |level| unsafe { bpf_skb_ancestor_cgroup_id(ctx.as_ptr().cast(), level as i32) },
        || {
            seen();
            let Some(packet) = PACKET.get_ptr_mut(direction as u32) else { return false };
            // SAFETY: nothing else on this CPU uses this entry while the program runs.
            unsafe { &mut *packet }.read(ctx, direction).is_some()
        },
        |rule| C::judge(rule, direction) != 0,
    )
}

/// Which of the twins below a program calls.
trait Judge {
    fn judge(rule: u32, direction: Direction) -> u32;
}

impl Judge for Exact {
    #[inline(always)]
    fn judge(rule: u32, direction: Direction) -> u32 {
        net_judge(rule, direction as u32)
    }
}

impl Judge for Close {
    #[inline(always)]
    fn judge(rule: u32, direction: Direction) -> u32 {
        net_judge_close(rule, direction as u32)
    }
}

// Global functions are verified once, on their own, and not again for each way to them: that makes
// loading quick, and possible at all. On old kernels they take nothing but numbers, hence `PACKET`.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge(rule: u32, direction: u32) -> u32 {
    u32::from(judge::<Exact>(rule, direction))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge_close(rule: u32, direction: u32) -> u32 {
    u32::from(judge::<Close>(rule, direction))
}

/// Whether a rule fires for the packet that was read.
#[inline(always)]
fn judge<C: Counter>(id: u32, direction: u32) -> bool {
    let Some(rule) = RULES.get(id % MAX_RULES).filter(|rule| rule.id == id) else { return false };
    let Some(packet) = PACKET.get(direction) else { return false };
    if !matches(id, rule, direction, packet) {
        return false;
    }
    let Some(firing) = gate::pass::<C>(id, &rule.gate) else { return false };
    if firing.report {
        report(id, direction, packet, &firing);
    }
    true
}

#[inline(always)]
fn matches(id: u32, rule: &NetRule, direction: u32, packet: &Packet) -> bool {
    rule.directions & direction != 0
        && (rule.protocols == 0 || rule.protocols & packet.protocol_bit() != 0)
        && has_port(&rule.remote_ports, packet.has_ports != 0, packet.remote_port)
        && has_port(&rule.local_ports, packet.has_ports != 0, packet.local_port)
        && has_remote(id, rule, packet)
}

#[inline(always)]
fn has_port(set: &PortSet, known: bool, port: u16) -> bool {
    if set.len == 0 {
        return true;
    }
    if !known {
        return false;
    }
    for at in 0..MAX_PORT_RANGES {
        if at >= set.len as usize {
            break;
        }
        let range = set.ranges[at];
        if range.first <= port && port <= range.last {
            return true;
        }
    }
    false
}

#[inline(always)]
fn has_remote(id: u32, rule: &NetRule, packet: &Packet) -> bool {
    if rule.remotes == Remotes::All as u32 {
        return true;
    }
    let prefix = Prefix { rule: id, family: packet.family, address: packet.remote };
    match PREFIXES.get(&Key::new(PREFIX_HEAD_BITS + 128, prefix)) {
        Some(verdict) => *verdict == PREFIX_INCLUDE,
        None => rule.remotes == Remotes::AllBut as u32,
    }
}

#[inline(always)]
fn report(rule: u32, direction: u32, packet: &Packet, firing: &Firing) {
    let Some(mut entry) = EVENTS.reserve::<NetEvent>(0) else { return };
    let pid = if direction == Direction::Out as u32 { current_process() } else { 0 };
    entry.write(NetEvent {
        time_ns: firing.now_ns,
        n: firing.n,
        rule,
        pid,
        length: packet.length,
        local_port: packet.local_port,
        remote_port: packet.remote_port,
        family: packet.family,
        protocol: packet.protocol as u16,
        direction: direction as u16,
        local: packet.local,
        remote: packet.remote,
    });
    entry.submit(0);
}

/// The process that runs now, or 0. `bpf_get_current_pid_tgid` came to tc with Linux 6.10 only.
#[inline(always)]
fn current_process() -> u32 {
    let Some(offset) = TGID_OFFSET.get(0).copied().filter(|offset| *offset != 0) else { return 0 };
    let mut pid = 0u32;
    // SAFETY: the helper copies four bytes from the task or fails; it never faults.
    let status = unsafe {
        let task = bpf_get_current_task();
        let tgid = (task + u64::from(offset)) as *const core::ffi::c_void;
        bpf_probe_read_kernel((&raw mut pid).cast(), size_of::<u32>() as u32, tgid)
    };
    if status == 0 { pid } else { 0 }
}

#[cfg(not(test))]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
