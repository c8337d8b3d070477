//! Asking the rules of a packet.

use aya_ebpf::{EbpfContext, bindings::__sk_buff, helpers::generated::bpf_skb_ancestor_cgroup_id};
use chaos_common::abi::{Action, Answer as Reply, Asks, MAX_RULES};

use super::{
    act, filter, flow,
    hook::Hook,
    kernel, redirect, report, stream,
    tables::{PACKET, RULES},
};
use crate::{
    counter::{Close, Counter, Exact},
    gate,
    packet::{Packet, Skb},
    target::{self, Answer},
};

/// What becomes of a packet.
pub enum Fate {
    /// No rule is about it.
    Untouched,
    /// It ends here.
    Lost,
    /// It goes on, as its [`Verdict`](crate::packet::Verdict) says.
    GoesOn,
}

/// Asks all rules of a packet whose socket's cgroup and ancestors `ancestor` tells. `begin` runs before the first,
/// and says whether there is a packet that they can be asked about; `find_peer` before the first that has to know
/// who is at the other end.
#[inline(always)]
pub fn judge<C: Judge>(
    skb: Skb,
    hook: Hook,
    ancestor: impl Fn(u32) -> u64,
    begin: impl Fn() -> bool,
    find_peer: impl Fn(),
) -> Fate {
    match target::any_rule(ancestor, begin, find_peer, |id| C::judge(skb, id, hook as u32)) {
        Answer::NoTarget | Answer::NeedsPeer => Fate::Untouched,
        Answer::Passed => Fate::GoesOn,
        Answer::Fired => Fate::Lost,
    }
}

/// Reads the headers of a packet for the rules of a hook. `None` for what is not judged.
#[inline(always)]
pub fn read(ctx: &impl EbpfContext, hook: Hook) -> Option<&'static mut Packet> {
    if net_read(ctx.as_ptr().cast(), hook as u32) == 0 {
        return None;
    }
    let packet = PACKET.get_ptr_mut(hook as u32)?;
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    Some(unsafe { &mut *packet })
}

/// The id of the ancestor at a level of the cgroup of a packet's own socket, or 0.
#[inline(always)]
pub fn own(ctx: &impl EbpfContext) -> impl Fn(u32) -> u64 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    // SAFETY: the helper takes the context and a number, and returns 0 for what has no socket.
    move |level| unsafe { bpf_skb_ancestor_cgroup_id(skb, level as i32) }
}

/// Which of the twins below a program calls.
pub trait Judge: Counter {
    /// What the rules of a cgroup say of the packet that was read for a hook: an [`Answer`].
    fn judge(skb: Skb, cgroup: u64, hook: u32) -> u32;
}

impl Judge for Exact {
    #[inline(always)]
    fn judge(skb: Skb, cgroup: u64, hook: u32) -> u32 {
        net_judge(skb.raw(), cgroup, hook)
    }
}

impl Judge for Close {
    #[inline(always)]
    fn judge(skb: Skb, cgroup: u64, hook: u32) -> u32 {
        net_judge_close(skb.raw(), cgroup, hook)
    }
}

// Global functions are verified once, on their own, and not again for each way to them: that makes
// loading quick, and possible at all. On old kernels they take nothing but the context and numbers, hence `PACKET`.

/// 1 if the headers of a packet were read into the entry of a hook.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_read(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get_ptr_mut(hook) else { return 0 };
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    let packet = unsafe { &mut *packet };
    // SAFETY: called with the context of the program that runs.
    let context = unsafe { Skb::new(skb) };
    if packet.read(context, Hook::of(hook).direction()).is_none() {
        return 0;
    }
    packet.interface = kernel::interface(skb.cast_const().cast());
    1
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge(skb: *mut __sk_buff, cgroup: u64, hook: u32) -> u32 {
    target::ask(cgroup, || knows_peer(hook), |rule| net_ask(skb, rule, hook) != 0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_judge_close(skb: *mut __sk_buff, cgroup: u64, hook: u32) -> u32 {
    target::ask(cgroup, || knows_peer(hook), |rule| net_ask_close(skb, rule, hook) != 0)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_ask(skb: *mut __sk_buff, rule: u32, hook: u32) -> u32 {
    u32::from(ask::<Exact>(skb, rule, Hook::of(hook)))
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_ask_close(skb: *mut __sk_buff, rule: u32, hook: u32) -> u32 {
    u32::from(ask::<Close>(skb, rule, Hook::of(hook)))
}

#[inline(always)]
fn knows_peer(hook: u32) -> bool {
    PACKET.get(hook).is_some_and(|packet| packet.knows_peer != 0)
}

/// 1 if a rule is about the packet that was read for a hook.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_matches(skb: *mut __sk_buff, id: u32, hook: u32) -> u32 {
    let Some(rule) = RULES.get(id % MAX_RULES) else { return 0 };
    let Some(packet) = PACKET.get(hook) else { return 0 };
    u32::from(filter::matches(skb, id, hook, rule, packet))
}

/// Asks one rule. Whether it ends the packet.
#[inline(always)]
fn ask<C: Counter>(skb: *mut __sk_buff, id: u32, hook: Hook) -> bool {
    let Some(rule) = RULES.get(id % MAX_RULES).filter(|rule| rule.id == id) else { return false };
    let Some(packet) = PACKET.get_ptr_mut(hook as u32) else { return false };
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    let packet = unsafe { &mut *packet };
    if hook == Hook::Egress && rule.action == Action::Redirect as u32 {
        let is_left = redirect::is_left(skb, id, rule);
        if is_left {
            packet.verdict.answer = Reply::Reset as u32;
        }
        return is_left;
    }
    if !hook.does(rule.action)
        || !act::is_open(rule, packet)
        || net_matches(skb, id, hook as u32) == 0
        || (rule.filter.needs_history() && !flow::has_turn(id, hook as u32))
    {
        return false;
    }
    let is_chosen = stream::is_one(rule, packet);
    let Some(firing) = gate::pass_chosen::<C>(id, &rule.gate, is_chosen) else { return false };
    if firing.report {
        let asks = !is_chosen && rule.filter.question.asks != Asks::Anything as u32;
        report::report(id, hook, packet, &firing, asks);
    }
    act::act(id, rule, packet, &firing)
}
