//! What tells the programs of one daemon or run from those of another. Set by the loader.

/// Written into `tc_index` of a target's packet that has been judged on its way out, so that stacked devices (a
/// VLAN on a bond on a NIC) judge it once.
#[unsafe(no_mangle)]
static JUDGED: u16 = 0;

/// The same of a packet on its way in: over a veth pair it may have been judged for its sender.
#[unsafe(no_mangle)]
static JUDGED_IN: u16 = 0;

/// Index of the hop's entrance, the same in every network namespace.
#[unsafe(no_mangle)]
static ENTRANCE: u32 = 0;

/// The same of the hop that spoils checksums.
#[unsafe(no_mangle)]
static SPOILER: u32 = 0;

#[inline(always)]
pub fn judged() -> u32 {
    // SAFETY: the loader replaces the value before the program is loaded.
    u32::from(unsafe { (&raw const JUDGED).read_volatile() })
}

#[inline(always)]
pub fn judged_in() -> u32 {
    // SAFETY: as above.
    u32::from(unsafe { (&raw const JUDGED_IN).read_volatile() })
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
