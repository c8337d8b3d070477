//! What a rule knows of a connection.

use aya_ebpf::{macros::map, maps::LruHashMap};
use chaos_common::abi::{Connections, Flow, FlowKey, Lane, MAX_RULES, NetRule};

use super::tables::{PACKET, RULES};
use crate::packet::Packet;

/// Connection of a rule → what it remembers. Only rules that ask for it have any.
#[map]
pub static FLOWS: LruHashMap<FlowKey, Flow> = LruHashMap::with_max_entries(32_768, 0);

/// What a rule remembers of a packet's connection; made if there is nothing yet.
#[inline(always)]
pub fn of(rule: u32, packet: &Packet) -> Option<*mut Flow> {
    let key = FlowKey { hash: packet.flow(), rule, reserved: 0 };
    if let Some(flow) = FLOWS.get_ptr_mut(&key) {
        return Some(flow);
    }
    let new = Flow { packets: 0, bytes: 0, is_new: 0, opening: 0, free_at_ns: 0 };
    // Another CPU may be faster; either's will do.
    let _ = FLOWS.insert(&key, &new, 0);
    FLOWS.get_ptr_mut(&key)
}

/// Whether a connection is one of those that the dice chose, once and for all.
#[inline(always)]
pub fn is_chosen(rule: &NetRule, packet: &Packet) -> bool {
    rule.filter.flows.includes(rule.gate.dice.draw(packet.flow(), Lane::Connection) as u32)
}

/// Counts the packet that was read for a hook, and says whether it is in the part of its connection that a rule is
/// about. What cannot be remembered does not match.
#[inline(always)]
pub fn has_turn(id: u32, hook: u32) -> bool {
    net_turn(id, hook) != 0
}

/// A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_turn(id: u32, hook: u32) -> u32 {
    let Some(rule) = RULES.get(id % MAX_RULES) else { return 0 };
    let Some(packet) = PACKET.get(hook) else { return 0 };
    u32::from(count(id, rule, packet))
}

#[inline(always)]
fn count(id: u32, rule: &NetRule, packet: &Packet) -> bool {
    let Some(flow) = of(id, packet) else { return false };
    // SAFETY: points to a value of this type that lives at least until the program ends. Two CPUs that count at
    // the same moment may lose a count; a connection is rarely on two.
    let flow = unsafe { &mut *flow };
    // The same ends may have had another connection before; what is sent again opens none.
    if packet.opens != 0 && (flow.is_new == 0 || flow.opening != packet.opening) {
        (flow.packets, flow.bytes) = (0, 0);
        (flow.is_new, flow.opening) = (1, packet.opening);
    }
    let (packets, bytes) = (flow.packets, flow.bytes);
    flow.packets += 1;
    flow.bytes += u64::from(packet.wire_length.saturating_sub(packet.link_length));
    let is_wanted = match rule.filter.connections {
        wanted if wanted == Connections::New as u32 => flow.is_new != 0,
        wanted if wanted == Connections::Established as u32 => flow.is_new == 0,
        _ => true,
    };
    is_wanted && rule.filter.window.has(packets, bytes)
}
