//! The rules, and the packet at hand: what all of the engine's parts look into.

use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
};
use chaos_common::abi::{MAX_RULES, NetRule};

use super::hook::Hook;
use crate::packet::Packet;

/// Rule id by its remainder → rule. An array, since the kernel makes a look-up in one a few instructions.
#[map]
pub static RULES: Array<NetRule> = Array::with_max_entries(MAX_RULES, 0);

/// The packet that this CPU is judging, at the index of its hook.
#[map]
pub static PACKET: PerCpuArray<Packet> = PerCpuArray::with_max_entries(Hook::COUNT, 0);
