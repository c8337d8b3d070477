//! Rules of the `net` engine and the keys of its maps.

use super::Gate;

/// Which way a packet goes, seen from the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// The target sent it.
    Out = 1,
    /// The target is about to receive it.
    In = 2,
}

/// Bits of [`NetRule::protocols`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Protocol {
    /// TCP.
    Tcp = 1,
    /// UDP, UDP-Lite excluded.
    Udp = 2,
    /// ICMP and ICMPv6.
    Icmp = 4,
}

/// Values of [`NetRule::remotes`]: which remote addresses a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Remotes {
    /// All of them; the rule has no prefixes.
    All = 0,
    /// Those whose longest prefix is a [`PREFIX_INCLUDE`].
    Listed = 1,
    /// All but those whose longest prefix is a [`PREFIX_EXCEPT`].
    AllBut = 2,
}

/// Port ranges that one rule can hold, for each end of a connection.
pub const MAX_PORT_RANGES: usize = 8;
/// Rules that one node can hold. A rule lies at the remainder of its id by this.
pub const MAX_RULES: u32 = 16_384;
/// Rules that one target can hold.
pub const MAX_RULES_PER_TARGET: usize = 16;
/// Depths of the cgroup tree at which targets can sit at the same time.
pub const MAX_LEVELS: usize = 8;

/// Ports from `first` to `last`, both included, in host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

/// Up to [`MAX_PORT_RANGES`] ranges; none means every packet, ports or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PortSet {
    /// How many of `ranges` count.
    pub len: u32,
    /// The ranges.
    pub ranges: [PortRange; MAX_PORT_RANGES],
}

/// One rule of the `net` engine: which packets of a target, and the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct NetRule {
    /// Deadline, budget and dice.
    pub gate: Gate,
    /// Its name; where there is no rule, 0.
    pub id: u32,
    /// Sum of [`Direction`] bits.
    pub directions: u32,
    /// Sum of [`Protocol`] bits; 0 is every protocol.
    pub protocols: u32,
    /// A [`Remotes`].
    pub remotes: u32,
    /// Ports of the remote end.
    pub remote_ports: PortSet,
    /// Ports of the target's end.
    pub local_ports: PortSet,
}

/// The rules of one cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TargetRules {
    /// How many of `rules` count.
    pub len: u32,
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
/// Value of a prefix whose addresses match.
pub const PREFIX_INCLUDE: u32 = 1;
/// Value of a prefix whose addresses do not match.
pub const PREFIX_EXCEPT: u32 = 0;
/// Bits of a [`Prefix`] before its address, to be added to the prefix length.
pub const PREFIX_HEAD_BITS: u32 = 64;

/// Key of the longest-prefix map of remote addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Prefix {
    /// The rule.
    pub rule: u32,
    /// [`FAMILY_V4`] or [`FAMILY_V6`].
    pub family: u32,
    /// The address in network byte order; an IPv4 address fills the first four bytes.
    pub address: [u8; 16],
}
