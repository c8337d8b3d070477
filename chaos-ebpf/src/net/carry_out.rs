//! Carrying out what the rules want of a packet, once all are asked: it goes on, ends, waits, comes in copies, or
//! becomes its answer.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, BPF_F_INGRESS},
    helpers::generated::{bpf_clone_redirect, bpf_redirect},
    programs::TcContext,
};
use chaos_common::abi::{Direction, MAX_COPIES};

use super::{
    corrupt::{self, Corrupted},
    hook::Hook,
    hop,
    instance::own_mark,
    reject,
    respond::{self, RESPONSE},
    tables::PACKET,
};
use crate::packet::{Skb, Verdict};

/// Let the next program, and in the end the kernel, decide. The same number under clsact
/// (`TC_ACT_UNSPEC`) and tcx (`TCX_NEXT`).
pub const NEXT: i32 = -1;

/// Ends a packet as a wire would.
#[inline(always)]
pub fn nowhere() -> i32 {
    // SAFETY: takes two numbers.
    unsafe { bpf_redirect(0, 0) as i32 }
}

/// Ends a packet, or what it became: the answer to it.
#[inline(always)]
pub fn end(ctx: &TcContext, hook: Hook) -> i32 {
    let skb: *mut __sk_buff = ctx.as_ptr().cast();
    match net_end(skb, hook as u32) {
        NOTHING_LEFT => nowhere(),
        STAYS => NEXT,
        _ => {
            // What went out comes in, and the other way round.
            let flags = if hook == Hook::Egress { u64::from(BPF_F_INGRESS) } else { 0 };
            // SAFETY: takes two numbers; the context is valid while the program runs.
            unsafe { bpf_redirect((*skb).ifindex, flags) as i32 }
        }
    }
}

/// It goes nowhere.
const NOTHING_LEFT: u32 = 0;
/// It goes on its way.
const STAYS: u32 = 1;
/// It goes back.
const GOES_BACK: u32 = 2;

/// What is left of a packet that ends. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_end(skb: *mut __sk_buff, hook: u32) -> u32 {
    // SAFETY: called with the context of the program that runs.
    let context = unsafe { Skb::new(skb) };
    let hook = Hook::of(hook);
    let Some(packet) = PACKET.get(hook as u32) else { return NOTHING_LEFT };
    let is_turned = match packet.verdict.answer {
        0 => false,
        answer if answer & RESPONSE != 0 => respond::turn_round(context, hook, packet),
        _ => reject::turn_round(context, hook, packet),
    };
    if !is_turned {
        return NOTHING_LEFT;
    }
    let back = match hook {
        Hook::Egress => Hook::Arrival,
        Hook::Arrival | Hook::Socket => Hook::Egress,
    };
    let on_loopback = hop::is_loopback(context);
    // On the loopback, where it stays, it is yet to come in.
    let direction = if on_loopback { Direction::In } else { back.direction() };
    // SAFETY: the context is valid while the program runs; the fields may be written in tc programs.
    unsafe {
        (*skb).tc_index = own_mark(direction);
        (*skb).tstamp = 0;
    }
    let at = packet.verdict.departure_ns;
    if at != 0 && net_send(skb, back as u32, 0, at, 0) != 0 {
        return NOTHING_LEFT;
    }
    if on_loopback { STAYS } else { GOES_BACK }
}

/// Carries out what the rules want of a packet that is not lost.
#[inline(always)]
pub fn go_on(ctx: &TcContext, hook: Hook) -> i32 {
    if net_go_on(ctx.as_ptr().cast(), hook as u32) == 0 { NEXT } else { nowhere() }
}

/// 1 if the packet itself ends here. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_go_on(skb: *mut __sk_buff, hook: u32) -> u32 {
    // SAFETY: called with the context of the program that runs.
    let context = unsafe { Skb::new(skb) };
    let hook = Hook::of(hook);
    let Some(packet) = PACKET.get(hook as u32) else { return 0 };
    let spoils = packet.verdict.corrupter != 0
        && corrupt::corrupt(context, packet) == Corrupted::ToBeNoticed;
    if spoils && hop::is_loopback(context) {
        // There it cannot be made wrong; the stack that would notice is spared the packet.
        return 1;
    }
    // Not looked at again after the first copy: on its way this CPU may judge another packet.
    let Verdict { departure_ns, line, copies, .. } = packet.verdict;
    let send = || net_send(skb, hook as u32, u32::from(spoils), departure_ns, line);
    for at in 0..MAX_COPIES {
        if at >= copies {
            break;
        }
        if send() == 0 {
            // What came in by the loopback goes out there once more: coming in, it would lose its route.
            let is_out = hook == Hook::Egress || hop::is_loopback(context);
            let flags = if is_out { 0 } else { u64::from(BPF_F_INGRESS) };
            // A copy carries the mark, so it is not judged again. SAFETY: takes the context and numbers.
            unsafe { bpf_clone_redirect(skb, (*skb).ifindex, flags) };
        }
    }
    send()
}

/// Sends a copy of a packet by way of a hop, if it is to go there. Else, 0, it goes on from here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_send(
    skb: *mut __sk_buff,
    hook: u32,
    spoils: u32,
    departure_ns: u64,
    line: u32,
) -> u32 {
    // SAFETY: as above.
    let context = unsafe { Skb::new(skb) };
    let (direction, spoils) = (Hook::of(hook).direction(), spoils != 0);
    let waits = departure_ns != 0 && hop::hold(context, direction, (departure_ns, line), spoils);
    if waits || !spoils {
        return u32::from(waits);
    }
    // Without such a hop it is lost: nobody may get it whose stack would have noticed.
    hop::spoil(context, direction);
    1
}
