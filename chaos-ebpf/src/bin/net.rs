//! Engine `net`: packets of a cgroup.
//!
//! * Out: `tc` egress of every interface of the target's network namespaces. A packet that is to be
//!   lost is redirected to interface 0, which never exists: the kernel frees it and tells the sender
//!   that it went out (`skb_do_redirect`, `NET_XMIT_SUCCESS`), as if a wire had lost it. The same
//!   verdict works under clsact and under tcx, which has no `TC_ACT_STOLEN`. One that is to be answered becomes its
//!   answer, and is redirected to the interface's other side.
//! * In: `cgroup_skb` ingress of the target, where the socket is about to take the packet. What is to be more than
//!   delivered or not meets `tc` ingress of the interface before.
//! * Before there is a packet: `cgroup_sock_addr` of the target, where a process connects, binds a socket, or sends to an
//!   address, and where it is told who is at the other end. See `chaos_ebpf::net::{attempt, redirect}`.
//! * A hop's entrance and exit: see `chaos_ebpf::net::hop`.
//!
//! Every other verdict leaves the packet to whoever comes next.
#![no_std]
#![no_main]

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, BPF_CSUM_LEVEL_RESET},
    helpers::generated::{bpf_clone_redirect, bpf_csum_level, bpf_redirect},
    macros::{cgroup_skb, cgroup_sock, cgroup_sock_addr, classifier},
    programs::{SkBuffContext, SockAddrContext, SockContext, TcContext},
};
use chaos_common::abi::{Direction, FAMILY_V4, FAMILY_V6, Operation};
use chaos_ebpf::{
    counter::{Close, Exact},
    net::{
        attempt,
        carry_out::{NEXT, end, go_on, nowhere},
        corrupt,
        hook::Hook,
        hop,
        instance::{is_judged, note_judged, spoiler},
        judge::{Fate, Judge, judge, own, read},
        peer, redirect,
        socket::{End, Owner},
    },
    packet::Skb,
};

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

#[classifier]
fn net_arrive(ctx: TcContext) -> i32 {
    arrive::<Exact>(&ctx)
}

#[classifier]
fn net_arrive_close(ctx: TcContext) -> i32 {
    arrive::<Close>(&ctx)
}

#[cgroup_skb]
fn net_in(ctx: SkBuffContext) -> i32 {
    incoming::<Exact>(&ctx)
}

#[cgroup_skb]
fn net_in_close(ctx: SkBuffContext) -> i32 {
    incoming::<Close>(&ctx)
}

/// Programs for attempts over one family: to connect, to send to an address, or to bind. Of each there are those that say
/// any errno, and those for older kernels, which know `EPERM` only.
macro_rules! attempts {
    ($($family:ident, $operation:ident: $($name:ident($attach:ident) = $verdict:ident::<$counter:ty>),*;)*) => {$($(
        #[cgroup_sock_addr($attach)]
        fn $name(ctx: SockAddrContext) -> i32 {
            attempt::$verdict::<$counter, $family, { Operation::$operation as u32 }>(&ctx)
        }
    )*)*};
}

/// Attached nowhere: whether it loads says whether this kernel lets an attempt fail with any errno.
#[cgroup_sock_addr(connect4)]
fn net_any_errno(_: SockAddrContext) -> i32 {
    attempt::fail_with(1)
}

attempts! {
    FAMILY_V4, Connect:
        net_connect4(connect4) = refuse::<Exact>,
        net_connect4_eperm(connect4) = forbid::<Exact>,
        net_connect4_eperm_close(connect4) = forbid::<Close>;
    FAMILY_V6, Connect:
        net_connect6(connect6) = refuse::<Exact>,
        net_connect6_eperm(connect6) = forbid::<Exact>,
        net_connect6_eperm_close(connect6) = forbid::<Close>;
    FAMILY_V4, Send:
        net_sendmsg4(sendmsg4) = refuse::<Exact>,
        net_sendmsg4_eperm(sendmsg4) = forbid::<Exact>,
        net_sendmsg4_eperm_close(sendmsg4) = forbid::<Close>;
    FAMILY_V6, Send:
        net_sendmsg6(sendmsg6) = refuse::<Exact>,
        net_sendmsg6_eperm(sendmsg6) = forbid::<Exact>,
        net_sendmsg6_eperm_close(sendmsg6) = forbid::<Close>;
    FAMILY_V4, Bind:
        net_bind4(bind4) = refuse::<Exact>,
        net_bind4_eperm(bind4) = forbid::<Exact>,
        net_bind4_eperm_close(bind4) = forbid::<Close>;
    FAMILY_V6, Bind:
        net_bind6(bind6) = refuse::<Exact>,
        net_bind6_eperm(bind6) = forbid::<Exact>,
        net_bind6_eperm_close(bind6) = forbid::<Close>;
}

/// Programs for what a socket is told of the other end, over one family.
macro_rules! returns {
    ($($name:ident($attach:ident) = $family:ident),*;) => {$(
        #[cgroup_sock_addr($attach)]
        fn $name(ctx: SockAddrContext) -> i32 {
            redirect::come_back::<$family>(&ctx)
        }
    )*};
}

returns! {
    net_recvmsg4(recvmsg4) = FAMILY_V4,
    net_recvmsg6(recvmsg6) = FAMILY_V6,
    net_getpeername4(getpeername4) = FAMILY_V4,
    net_getpeername6(getpeername6) = FAMILY_V6;
}

/// A socket is closed: it is not connected elsewhere any more.
#[cgroup_sock(sock_release)]
fn net_release(ctx: SockContext) -> i32 {
    redirect::forget(ctx.sock);
    DELIVER
}

/// What comes to the entrance of a hop waits until its time has come.
#[classifier]
fn net_hop_enter(ctx: TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    // Nobody else has anything to send there, and what there is no room for is lost.
    let Some(way) = hop::enter(Skb::of(&ctx)) else { return nowhere() };
    // SAFETY: the context is valid while the program runs; the field may be written in tc programs.
    unsafe { (*skb).tc_index = way };
    NEXT
}

/// What leaves a hop goes on as if nothing had been.
#[classifier]
fn net_hop_leave(ctx: TcContext) -> i32 {
    let skb = Skb::of(&ctx);
    let Some(way) = hop::way(skb) else { return nowhere() };
    if way.spoils != 0 {
        // SAFETY: takes two numbers.
        return unsafe { bpf_redirect(spoiler(), 0) as i32 };
    }
    hop::go_back(skb, &way)
}

/// What comes to a hop in user space takes along what is to be known of it there.
#[classifier]
fn net_tap_enter(ctx: TcContext) -> i32 {
    // Nobody else has anything to send there.
    if hop::label(Skb::of(&ctx)) { NEXT } else { nowhere() }
}

/// What comes back from there goes on as if nothing had been.
#[classifier]
fn net_tap_leave(ctx: TcContext) -> i32 {
    let skb = Skb::of(&ctx);
    if !hop::unlabel(skb) {
        return nowhere();
    }
    let Some(way) = hop::way(skb) else { return nowhere() };
    if way.spoils == 0 && way.interface == hop::LOOPBACK {
        return hop::go_back(skb, &way);
    }
    let (interface, flags) = if way.spoils == 0 { hop::restore(skb, &way) } else { (spoiler(), 0) };
    // The packet itself belongs to the socket of the device, by which an `fq` would take all for one connection.
    // SAFETY: takes the context and numbers.
    unsafe { bpf_clone_redirect(skb.raw(), interface, flags) };
    nowhere()
}

/// What leaves the hop that computes checksums goes on with a wrong one.
#[classifier]
fn net_hop_spoil(ctx: TcContext) -> i32 {
    let skb = Skb::of(&ctx);
    let Some(way) = hop::way(skb) else { return nowhere() };
    // Its direction makes no difference here: both ends are told by the headers.
    let Some(packet) = read(&ctx, Hook::Arrival) else { return nowhere() };
    // SAFETY: takes the context and a number. What the device vouches for is not looked at again.
    unsafe { bpf_csum_level(skb.raw(), u64::from(BPF_CSUM_LEVEL_RESET)) };
    if !corrupt::spoil(skb, packet) {
        return nowhere();
    }
    hop::go_back(skb, &way)
}

#[inline(always)]
fn out<C: Judge>(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    if is_judged(Skb::of(ctx), Direction::Out) {
        // On another device.
        return NEXT;
    }
    let begin = || {
        note_judged(Skb::of(ctx), Direction::Out);
        let Some(packet) = read(ctx, Hook::Egress) else { return false };
        // SAFETY: as above.
        let (wire, segments) = unsafe { ((*skb).wire_len, (*skb).gso_segs) };
        packet.wire_length = wire;
        if packet.end != 0 {
            packet.link_length = packet.length.saturating_sub(packet.end) * segments.max(1);
        }
        true
    };
    match judge::<C>(Skb::of(ctx), Hook::Egress, own(ctx), begin, || peer::find(ctx, Hook::Egress))
    {
        Fate::Untouched => NEXT,
        Fate::Lost => end(ctx, Hook::Egress),
        Fate::GoesOn => go_on(ctx, Hook::Egress),
    }
}

/// What has just come in by an interface.
#[inline(always)]
fn arrive<C: Judge>(ctx: &TcContext) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    if is_judged(Skb::of(ctx), Direction::In) {
        return NEXT;
    }
    let Some(packet) = read(ctx, Hook::Arrival) else { return NEXT };
    // SAFETY: as above.
    packet.wire_length = unsafe { (*skb).wire_len };
    // There is no socket yet.
    let Some(receiver) = Owner::of(skb, Hook::Arrival, End::Local) else { return NEXT };
    let begin = || {
        note_judged(Skb::of(ctx), Direction::In);
        true
    };
    let find_peer = || peer::find(ctx, Hook::Arrival);
    let skb = Skb::of(ctx);
    match judge::<C>(skb, Hook::Arrival, |level| receiver.ancestor(level), begin, find_peer) {
        Fate::Untouched => NEXT,
        Fate::Lost => end(ctx, Hook::Arrival),
        Fate::GoesOn => go_on(ctx, Hook::Arrival),
    }
}

/// What a socket is about to get.
#[inline(always)]
fn incoming<C: Judge>(ctx: &SkBuffContext) -> i32 {
    let begin = || read(ctx, Hook::Socket).is_some();
    match judge::<C>(Skb::of(ctx), Hook::Socket, own(ctx), begin, || peer::find(ctx, Hook::Socket))
    {
        Fate::Lost => DISCARD,
        Fate::Untouched | Fate::GoesOn => DELIVER,
    }
}

#[cfg(not(test))]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
