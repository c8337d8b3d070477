//! Rules of the `net` engine and the keys of its maps.

use super::{Gate, NetFilter, PARAMETERS};

/// Rules that one node can hold. A rule lies at the remainder of its id by this.
pub const MAX_RULES: u32 = 16_384;
/// Rules that one target can hold.
pub const MAX_RULES_PER_TARGET: usize = 16;
/// Depths of the cgroup tree at which targets can sit at the same time.
pub const MAX_LEVELS: usize = 8;

/// One rule of the `net` engine: which packets of a target, the gate, and what happens to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NetRule {
    /// Deadline, budget and dice.
    pub gate: Gate,
    /// Its name; where there is no rule, 0.
    pub id: u32,
    /// An [`Action`](super::Action).
    pub action: u32,
    /// Which packets.
    pub filter: NetFilter,
    /// Of the action.
    pub parameters: [u64; PARAMETERS],
}

/// The rules of one cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TargetRules {
    /// How many of `rules` count.
    pub len: u32,
    /// 1 if one of them [asks](NetFilter::asks_peer) whose socket is at the other end.
    pub asks_peer: u32,
    /// Rule ids, in the order in which they are asked.
    pub rules: [u32; MAX_RULES_PER_TARGET],
}

/// Words of the table that says of most cgroups in one look that they are no target: a bit for each
/// remainder of a cgroup's id, set where one with that remainder is.
pub const TARGET_WORDS: u32 = 1024;

/// Word and bit of a cgroup in that table.
#[inline(always)]
#[must_use]
pub const fn target_bit(cgroup: u64) -> (u32, u64) {
    ((cgroup / 64) as u32 % TARGET_WORDS, 1 << (cgroup % 64))
}

/// The depths at which targets sit; the root is level 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Levels {
    /// How many of `levels` count.
    pub len: u32,
    /// The depths.
    pub levels: [u32; MAX_LEVELS],
}

/// [`Prefix::family`] of an IPv4 address.
pub const FAMILY_V4: u32 = 4;
/// [`Prefix::family`] of an IPv6 address.
pub const FAMILY_V6: u32 = 6;
/// `Prefix::family` of a port of a [`Action::Occupy`](super::Action::Occupy): in network byte order in the first two
/// bytes, and nothing behind it counts.
pub const PREFIX_PORT: u32 = 0;
/// Bits of such a prefix behind its head.
pub const PREFIX_PORT_BITS: u32 = 16;
/// Value of a prefix of what matches: addresses, names.
pub const PREFIX_INCLUDE: u32 = 1;
/// Value of a prefix of what does not.
pub const PREFIX_EXCEPT: u32 = 0;
/// Bits of a [`Prefix`] before its address, to be added to the prefix length.
pub const PREFIX_HEAD_BITS: u32 = 64;

/// Key of the longest-prefix map of remote addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Prefix {
    /// The rule.
    pub rule: u32,
    /// [`FAMILY_V4`], [`FAMILY_V6`] or [`PREFIX_PORT`].
    pub family: u32,
    /// The address in network byte order; an IPv4 address fills the first four bytes.
    pub address: [u8; 16],
}

impl Prefix {
    /// A port of a rule.
    #[inline(always)]
    #[must_use]
    pub const fn port(rule: u32, port: u16) -> Self {
        let mut address = [0; 16];
        [address[0], address[1]] = port.to_be_bytes();
        Self { rule, family: PREFIX_PORT, address }
    }
}
