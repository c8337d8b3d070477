//! Whether a rule is about a packet.

use aya_ebpf::{
    bindings::__sk_buff,
    macros::map,
    maps::{LpmTrie, lpm_trie::Key},
};
use chaos_common::abi::{
    Asks, Chance, MAX_PEERS, NetFilter, NetRule, PREFIX_HEAD_BITS, PREFIX_INCLUDE, Prefix, Remotes,
};

use super::{flow, hook::Hook, question, socket::net_ancestor, stream};
use crate::{packet::Packet, ports::has_port};

/// Addresses that rules are about, and ports to bind to.
#[map]
pub static PREFIXES: LpmTrie<Prefix, u32> = LpmTrie::with_max_entries(1 << 20, 0);

/// All conditions but those that remember, the cheap ones first.
#[inline(always)]
pub fn matches(skb: *mut __sk_buff, id: u32, hook: u32, rule: &NetRule, packet: &Packet) -> bool {
    let filter = &rule.filter;
    filter.directions & Hook::of(hook).direction() as u32 != 0
        && (filter.protocols == 0 || filter.protocols & packet.protocol_bit() != 0)
        && (filter.dscp == 0 || filter.dscp & (1 << (packet.dscp & 63)) != 0)
        && has_port(&filter.remote_ports, packet.has_ports != 0, packet.remote_port)
        && has_port(&filter.local_ports, packet.has_ports != 0, packet.local_port)
        && has_interface(filter, packet)
        && has_remote(id, filter, packet)
        && asks_so(skb, id, hook, rule, packet)
        && (filter.flows.share() == Chance::ALWAYS.share() || flow::is_chosen(rule, packet))
}

#[inline(always)]
fn asks_so(skb: *mut __sk_buff, id: u32, hook: u32, rule: &NetRule, packet: &Packet) -> bool {
    if rule.filter.question.asks == Asks::Anything as u32 {
        true
    } else if stream::is_one(rule, packet) {
        stream::is_met(rule, packet)
    } else {
        question::net_is_meant(skb, id, hook) != 0
    }
}

#[inline(always)]
fn has_interface(filter: &NetFilter, packet: &Packet) -> bool {
    let halves = |name: &[u8; 16]| u128::from_ne_bytes(*name);
    filter.interface[0] == 0 || halves(&filter.interface) == halves(&packet.interface)
}

#[inline(always)]
fn has_remote(id: u32, filter: &NetFilter, packet: &Packet) -> bool {
    match listed(id, filter, packet.family, packet.remote) {
        Some(is_meant) => is_meant,
        None => has_peer(filter, packet),
    }
}

/// Whether the ranges of a rule mean an address. `None` where they do not say.
#[inline(always)]
pub(super) fn listed(id: u32, filter: &NetFilter, family: u32, address: [u8; 16]) -> Option<bool> {
    if filter.remotes == Remotes::All as u32 {
        return Some(true);
    }
    let prefix = Prefix { rule: id, family, address };
    match PREFIXES.get(&Key::new(PREFIX_HEAD_BITS + 128, prefix)) {
        Some(verdict) => Some(*verdict == PREFIX_INCLUDE),
        None => (filter.remotes == Remotes::AllBut as u32).then_some(true),
    }
}

#[inline(always)]
fn has_peer(filter: &NetFilter, packet: &Packet) -> bool {
    if !filter.asks_peer() || packet.peer == 0 {
        return false;
    }
    for at in 0..MAX_PEERS {
        let peer = &filter.peers[at];
        if peer.cgroup == 0 {
            break;
        }
        if net_ancestor(packet.peer, packet.peer_level, peer.level as u32) == peer.cgroup {
            return true;
        }
    }
    false
}
