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
    helpers::generated::{bpf_clone_redirect, bpf_redirect},
    macros::{cgroup_skb, classifier},
    programs::{SkBuffContext, TcContext},
};
use chaos_common::abi::MAX_COPIES;
use chaos_ebpf::{
    counter::{Close, Exact},
    net::judge::{Fate, Hook, Judge, PACKET, judge, sender},
};

/// Written into `tc_index` of a target's packet that has been judged, so that stacked devices (a VLAN
/// on a bond on a NIC) judge it once. Set by the loader; differs between instances.
#[unsafe(no_mangle)]
static JUDGED: u16 = 0;

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
    let fate = judge::<C>(ctx, Hook::Egress, sender(skb), |_| {
        // SAFETY: as above; the field may be written in tc programs.
        unsafe { (*skb).tc_index = judged };
    });
    match fate {
        Fate::Untouched => NEXT,
        // SAFETY: takes two numbers.
        Fate::Lost => unsafe { bpf_redirect(0, 0) as i32 },
        Fate::GoesOn => go_on(skb),
    }
}

/// Carries out what the rules want of a packet that leaves.
#[inline(always)]
fn go_on(skb: *mut __sk_buff) -> i32 {
    let Some(packet) = PACKET.get(Hook::Egress as u32) else { return NEXT };
    let copies = packet.verdict.copies;
    for at in 0..MAX_COPIES {
        if at >= copies {
            break;
        }
        // Its copies carry the mark, so they are not judged again. SAFETY: takes the context and numbers.
        unsafe { bpf_clone_redirect(skb, (*skb).ifindex, 0) };
    }
    NEXT
}

#[inline(always)]
fn incoming<C: Judge>(ctx: &SkBuffContext) -> i32 {
    match judge::<C>(ctx, Hook::Socket, sender(ctx.as_ptr().cast()), |_| ()) {
        Fate::Lost => DISCARD,
        Fate::Untouched | Fate::GoesOn => DELIVER,
    }
}

#[cfg(not(test))]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
