//! Which packets a rule of the `net` engine is about.

use super::{Chance, QuestionFilter};

/// Which way a packet goes, seen from the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// The target sent it.
    Out = 1,
    /// The target is about to receive it.
    In = 2,
}

/// Bits of [`NetFilter::protocols`].
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

/// Values of [`NetFilter::remotes`]: which remote addresses a rule is about.
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

/// Values of [`NetFilter::connections`]: which TCP connections a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Connections {
    /// All, and what is no connection.
    All = 0,
    /// Those whose first packet (SYN) came after the rule.
    New = 1,
    /// Those that were there before.
    Established = 2,
}

/// Port ranges that one rule can hold, for each end of a connection.
pub const MAX_PORT_RANGES: usize = 8;
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

/// Cgroups that one rule can have at the other end.
pub const MAX_PEERS: usize = 8;

/// A cgroup at the other end of a connection that does not leave the network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Peer {
    /// The kernel's id of it; where there is none, 0.
    pub cgroup: u64,
    /// Its depth; the root's is 0.
    pub level: u64,
}

/// Bytes of an interface's name, with the zero behind it.
pub const INTERFACE_NAME: usize = 16;

/// A stretch of a connection: its packets and bytes from some on, and until others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Window {
    /// The number of the first packet of the stretch, counted from 0.
    pub from_packet: u64,
    /// The number of the first packet behind it.
    pub until_packet: u64,
    /// The packet begins at this byte or later.
    pub from_byte: u64,
    /// The packet begins before this byte.
    pub until_byte: u64,
}

impl Window {
    /// The whole connection.
    pub const WHOLE: Self =
        Self { from_packet: 0, until_packet: u64::MAX, from_byte: 0, until_byte: u64::MAX };

    /// Whether a packet is in it that comes after so many packets and bytes.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, packets: u64, bytes: u64) -> bool {
        self.from_packet <= packets
            && packets < self.until_packet
            && self.from_byte <= bytes
            && bytes < self.until_byte
    }

    /// Whether every packet is.
    #[inline(always)]
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.from_packet == 0
            && self.until_packet == u64::MAX
            && self.from_byte == 0
            && self.until_byte == u64::MAX
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::WHOLE
    }
}

/// Conditions on a packet; all of them must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NetFilter {
    /// Sum of [`Direction`] bits.
    pub directions: u32,
    /// Sum of [`Protocol`] bits; 0 is every protocol.
    pub protocols: u32,
    /// A [`Remotes`].
    pub remotes: u32,
    /// A [`Connections`].
    pub connections: u32,
    /// A bit for each DSCP; 0 is every one.
    pub dscp: u64,
    /// The share of connections, each chosen once.
    pub flows: Chance,
    /// Which part of a connection.
    pub window: Window,
    /// The interface's name, filled up with zeroes; nothing else is any interface.
    pub interface: [u8; INTERFACE_NAME],
    /// Ports of the remote end.
    pub remote_ports: PortSet,
    /// Ports of the target's end.
    pub local_ports: PortSet,
    /// Who else is meant at the other end, besides the listed addresses; the first that is none ends the list.
    pub peers: [Peer; MAX_PEERS],
    /// Which questions to a name server.
    pub question: QuestionFilter,
}

impl Default for NetFilter {
    /// No packet, since there is no direction in it.
    fn default() -> Self {
        Self {
            directions: 0,
            protocols: 0,
            remotes: Remotes::All as u32,
            connections: Connections::All as u32,
            dscp: 0,
            flows: Chance::ALWAYS,
            window: Window::WHOLE,
            interface: [0; INTERFACE_NAME],
            remote_ports: PortSet::default(),
            local_ports: PortSet::default(),
            peers: [Peer::default(); MAX_PEERS],
            question: QuestionFilter::default(),
        }
    }
}

impl NetFilter {
    /// Whether it asks whose socket is at the other end.
    #[inline(always)]
    #[must_use]
    pub const fn asks_peer(&self) -> bool {
        self.peers[0].cgroup != 0
    }

    /// Whether it depends on what came before in the same connection.
    #[inline(always)]
    #[must_use]
    pub const fn needs_history(&self) -> bool {
        self.connections != Connections::All as u32 || !self.window.is_whole()
    }
}
