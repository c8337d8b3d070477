//! Rules of the `net` engine and the keys of its maps.

use super::{Gate, NetFilter, PARAMETERS, mix};

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
/// Value of a prefix whose addresses match.
pub const PREFIX_INCLUDE: u32 = 1;
/// Value of a prefix whose addresses do not match.
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

/// Digest of both ends and the protocol of a connection: the same for all of its packets, whichever way they go.
/// An end is an address in network byte order, of which one of IPv4 fills the first four bytes, and a port in host
/// byte order.
#[inline(always)]
#[must_use]
pub fn flow_hash(
    family: u32,
    protocol: u32,
    local: (&[u8; 16], u16),
    remote: (&[u8; 16], u16),
) -> u64 {
    let ends = u64::from(local.1) << 16 | u64::from(remote.1);
    let mut hash = mix(u64::from(protocol) << 32 | ends, 0);
    if family == FAMILY_V4 {
        let word = |address: &[u8; 16]| {
            u64::from(u32::from_ne_bytes([address[0], address[1], address[2], address[3]]))
        };
        hash = mix(hash ^ word(local.0), word(remote.0));
    } else {
        hash = mix(hash ^ half(local.0, 0), half(remote.0, 0));
        hash = mix(hash ^ half(local.0, 8), half(remote.0, 8));
    }
    hash
}

#[inline(always)]
fn half(address: &[u8; 16], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&address[at..at + 8]);
    u64::from_ne_bytes(bytes)
}

/// Key of what a rule remembers of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowKey {
    /// Digest of both ends and the protocol, the same in both directions.
    pub hash: u64,
    /// The rule.
    pub rule: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What a rule remembers of one connection. Of those that were heard of least lately, some are forgotten when
/// there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Flow {
    /// Packets so far.
    pub packets: u64,
    /// Bytes so far, with IP headers.
    pub bytes: u64,
    /// 1 if its first packet (SYN) was seen.
    pub is_new: u64,
    /// When the line is free, or the last packet is on its way; on the monotonic clock.
    pub free_at_ns: u64,
}

/// Where the kernel keeps what programs read from its own structures, in bytes; all 0 until somebody needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Layout {
    /// `tgid` in `struct task_struct`; 0 while nobody watches.
    pub task_tgid: u32,
    /// `dev` in `struct sk_buff`; 0 while no rule needs the next three.
    pub skb_dev: u32,
    /// `name` in `struct net_device`.
    pub device_name: u32,
    /// `qdisc` in `struct net_device`.
    pub device_qdisc: u32,
    /// `qstats.backlog` in `struct Qdisc`, in bytes.
    pub qdisc_backlog: u32,
    /// `sk_cgrp_data.cgroup` in `struct sock`; 0 while no rule needs the rest.
    pub sock_cgroup: u32,
    /// `level` in `struct cgroup`.
    pub cgroup_level: u32,
    /// `ancestors` in `struct cgroup`, or 0 where they are not pointers.
    pub cgroup_ancestors: u32,
    /// `ancestor_ids` in `struct cgroup`, on kernels that have these instead.
    pub cgroup_ancestor_ids: u32,
    /// `kn` in `struct cgroup`.
    pub cgroup_kn: u32,
    /// `id` in `struct kernfs_node`.
    pub kn_id: u32,
    /// The *bit* of `skc_ipv6only` in `struct sock_common`; 0 while no rule needs it.
    pub sock_v6only: u32,
}

/// What a held packet needs to know to go on its way. Its number, which it carries in `tc_index`, is the
/// remainder of a digest, or one of the next few if that is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Way {
    /// Where it was.
    pub interface: u32,
    /// A [`Direction`](super::Direction).
    pub direction: u32,
    /// `skb->priority`, by which qdiscs classify.
    pub priority: u32,
    /// 1 if its checksum is to be wrong.
    pub spoils: u32,
    /// `skb->mark`, which a round trip through user space loses.
    pub mark: u32,
}

/// Bytes that may wait in one network namespace, or where packets wait in the daemon, in all of them.
pub const MAX_HELD_BYTES: u32 = 256 << 20;

/// What is handed to the program of a hop's entrance while a packet is on its way there; on the same CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handover {
    /// When the packet may leave, on the monotonic clock; 0 is now.
    pub departure_ns: u64,
    /// The number of its [`Way`]; 0 while there is no packet.
    pub way: u32,
    /// Which line of the `fq` it waits in, where packets do not overtake each other; 0 is that of its connection.
    pub line: u32,
}
