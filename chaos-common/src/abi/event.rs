//! What the kernel reports of a firing.

/// One firing of a `net` rule: a sample, and never any payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes))]
#[repr(C)]
pub struct NetEvent {
    /// When, on the boot clock.
    pub time_ns: u64,
    /// The event's number within its rule, from 0.
    pub n: u64,
    /// The rule.
    pub rule: u32,
    /// The process that ran when the packet passed, or 0. In a softirq this is a bystander: only
    /// user space can tell, by the process's cgroup.
    pub pid: u32,
    /// Length of the packet in bytes; outgoing, with the link header where the device has one.
    pub length: u32,
    /// Port of the target's end in host byte order; 0 where there is none.
    pub local_port: u16,
    /// Port of the other end in host byte order; 0 where there is none.
    pub remote_port: u16,
    /// `FAMILY_V4` or `FAMILY_V6`.
    pub family: u32,
    /// IP protocol number.
    pub protocol: u16,
    /// A `Direction`.
    pub direction: u16,
    /// The target's address in network byte order; IPv4 fills the first four bytes.
    pub local: [u8; 16],
    /// The other end's address, likewise.
    pub remote: [u8; 16],
    /// Of a call that failed before there was a packet: with what. Otherwise 0.
    pub errno: u32,
    /// Which [`Operation`](super::Operation) that call was.
    pub operation: u32,
}

/// Bytes of a name as packets have it, with room for the longest.
pub const ASKED_BYTES: usize = 256;

/// One firing of a rule about questions to name servers: the packet, and what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes))]
#[repr(C)]
pub struct QuestionEvent {
    /// The packet.
    pub packet: NetEvent,
    /// The type of records.
    pub kind: u32,
    /// Bytes of `name` that count.
    pub length: u32,
    /// As it was asked: labels, each behind its length, without the root's.
    pub name: [u8; ASKED_BYTES],
}
