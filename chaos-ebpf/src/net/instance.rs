//! What tells the programs of one daemon or run from those of another. Set by the loader.

use chaos_common::abi::{Direction, Mark};

use crate::packet::Skb;

/// What a packet is marked with that it has judged, so that stacked devices (a VLAN on a bond on a NIC) judge it
/// once; see [`Mark`].
#[unsafe(no_mangle)]
static INSTANCE: u32 = 0;

/// Index of the hop's entrance, the same in every network namespace.
#[unsafe(no_mangle)]
static ENTRANCE: u32 = 0;

/// The same of the hop that spoils checksums.
#[unsafe(no_mangle)]
static SPOILER: u32 = 0;

/// Whether a packet is not to be judged here.
#[inline(always)]
pub fn is_judged(skb: Skb, direction: Direction) -> bool {
    mark(skb).is_judged(direction, instance())
}

/// Notes that a packet is judged here.
#[inline(always)]
pub fn note_judged(skb: Skb, direction: Direction) {
    let mark = mark(skb).judged(direction, instance());
    // SAFETY: the context is valid while the program runs; the field may be written in tc programs.
    unsafe { (*skb.raw()).tc_index = mark.0 };
}

/// The mark of a packet of ours.
#[inline(always)]
pub fn own_mark(direction: Direction) -> u32 {
    Mark::new(direction, instance()).0
}

#[inline(always)]
fn mark(skb: Skb) -> Mark {
    // SAFETY: the context is valid while the program runs.
    Mark(unsafe { (*skb.raw()).tc_index })
}

#[inline(always)]
fn instance() -> u32 {
    // SAFETY: the loader replaces the value before the program is loaded.
    unsafe { (&raw const INSTANCE).read_volatile() }
}

#[inline(always)]
pub fn entrance() -> u32 {
    // SAFETY: as above.
    unsafe { (&raw const ENTRANCE).read_volatile() }
}

#[inline(always)]
pub fn spoiler() -> u32 {
    // SAFETY: as above.
    unsafe { (&raw const SPOILER).read_volatile() }
}
