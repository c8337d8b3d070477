//! What a rule that fires wants of a packet.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC, helpers::generated::bpf_ktime_get_ns, macros::map, maps::HashMap,
};
use chaos_common::abi::{
    Action, Duplicate, Flow, Hold, Lane, MAX_COPIES, MAX_RULES, NetRule, Rate, Reject, Respond,
    Shape,
};

use super::{
    flow,
    respond::{CUT, RESPONSE},
    stream,
};
use crate::{
    gate::{self, Firing},
    packet::Packet,
};

/// Rule id → how its jitter is distributed, if not evenly.
#[map]
pub static SHAPES: HashMap<u32, Shape> = HashMap::with_max_entries(MAX_RULES, BPF_F_NO_PREALLOC);

/// Whether a rule can still do something with a packet. One corruption is enough.
#[inline(always)]
pub fn is_open(rule: &NetRule, packet: &Packet) -> bool {
    rule.action != Action::Corrupt as u32 || packet.verdict.corrupter == 0
}

/// Notes what a rule wants. Whether that is the packet's end.
#[inline(always)]
pub fn act(id: u32, rule: &NetRule, packet: &mut Packet, firing: &Firing) -> bool {
    if let Some(is_end) = stream::act(rule, packet) {
        return is_end;
    }
    match rule.action {
        action if action == Action::Duplicate as u32 => {
            let Duplicate { copies } = Duplicate::of(&rule.parameters);
            let copies = packet.verdict.copies + copies as u32;
            packet.verdict.copies = if copies > MAX_COPIES { MAX_COPIES } else { copies };
            false
        }
        action if action == Action::Corrupt as u32 => {
            packet.verdict.corrupter = id;
            packet.verdict.corruption = rule.gate.dice.draw(firing.n, Lane::Corrupt);
            false
        }
        action if action == Action::Rate as u32 => queue(id, rule, packet),
        action if action == Action::Hold as u32 => {
            hold(id, rule, packet, firing);
            false
        }
        action if action == Action::Reject as u32 => {
            let Reject { answer, wait_ns } = Reject::of(&rule.parameters);
            packet.verdict.answer = answer as u32;
            packet.verdict.departure_ns =
                if packet.opens == 0 || wait_ns == 0 { 0 } else { departure(packet) + wait_ns };
            true
        }
        action if action == Action::Respond as u32 => {
            let Respond { code, has_records, is_cut } = Respond::of(&rule.parameters);
            let cut = if is_cut == 0 { 0 } else { CUT };
            packet.verdict.answer = RESPONSE | cut | code as u32;
            packet.verdict.responder = if has_records == 0 { 0 } else { id };
            packet.verdict.departure_ns = 0;
            packet.verdict.draw = rule.gate.dice.draw(firing.n, Lane::Records);
            true
        }
        _ => true,
    }
}

/// When a packet may leave as things stand.
#[inline(always)]
fn departure(packet: &Packet) -> u64 {
    // SAFETY: takes no arguments and only reads the clock.
    let now = unsafe { bpf_ktime_get_ns() };
    if packet.verdict.departure_ns > now { packet.verdict.departure_ns } else { now }
}

#[inline(always)]
fn hold(id: u32, rule: &NetRule, packet: &mut Packet, firing: &Firing) {
    let hold = Hold::of(&rule.parameters);
    let draw = rule.gate.dice.draw(firing.n, Lane::Hold);
    let (mut value, again) = (draw as u32, (draw >> 32) as u32);
    if hold.repeat.share() != 0
        && let Some(state) = gate::STATE.get_ptr_mut(&id)
    {
        // SAFETY: points to a map value of this type that lives at least until the program ends.
        let last = unsafe { &raw mut (*state).last_draw };
        // SAFETY: as above; volatile because other CPUs write it too.
        unsafe {
            if firing.n != 0 && hold.repeat.includes(again) {
                value = last.read_volatile() as u32;
            } else {
                last.write_volatile(u64::from(value));
            }
        }
    }
    // SAFETY: the value stays readable while the program runs.
    let shape = if hold.has_shape == 0 { None } else { unsafe { SHAPES.get(&id) } };
    let mut departure = departure(packet) + hold.time(value, shape);
    if hold.keeps_order == 0 {
        packet.verdict.line = again | 1;
    } else if hold.jitter_ns != 0
        && let Some(flow) = flow::of(id, packet)
    {
        // SAFETY: points to a map value of this type that lives at least until the program ends.
        let free_at = unsafe { &mut (*flow).free_at_ns };
        if *free_at > departure {
            departure = *free_at;
        } else {
            *free_at = departure;
        }
    }
    packet.verdict.departure_ns = departure;
}

/// Puts a packet behind those that wait for the same line. Whether it is dropped for want of room.
#[inline(always)]
fn queue(id: u32, rule: &NetRule, packet: &mut Packet) -> bool {
    let rate = Rate::of(&rule.parameters);
    let free_at: *mut u64 = if rate.per_connection == 0 {
        let Some(state) = gate::STATE.get_ptr_mut(&id) else { return false };
        // SAFETY: points to a map value of this type that lives at least until the program ends.
        unsafe { &raw mut (*state).free_at_ns }
    } else {
        let Some(flow) = flow::of(id, packet) else { return false };
        let flow: *mut Flow = flow;
        // SAFETY: as above.
        unsafe { &raw mut (*flow).free_at_ns }
    };
    let now = departure(packet);
    // After a pause the line has time in hand, as far as the burst goes.
    let earliest = now.saturating_sub(rate.burst_ns);
    // SAFETY: as above; volatile because other CPUs write it too. Two that do so at the same moment may both
    // send into one gap.
    let free = unsafe { free_at.read_volatile() };
    let start = if free > earliest { free } else { earliest };
    if start > now + rate.limit_ns {
        return true;
    }
    let end = start + rate.time_of(u64::from(packet.wire_length));
    // SAFETY: as above.
    unsafe { free_at.write_volatile(end) };
    // A line without a queue sends at once what it takes at all.
    if end > now && rate.limit_ns != 0 {
        packet.verdict.departure_ns = end;
    }
    false
}
