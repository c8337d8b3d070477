//! What rules remember of connections.

use super::{FAMILY_V4, mix};

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
    /// 1 if its opening (SYN) was seen.
    pub is_new: u32,
    /// The number with which it was opened then: another one is of another connection between the same ends.
    pub opening: u32,
    /// When the line is free, or the last packet is on its way; on the monotonic clock.
    pub free_at_ns: u64,
}
