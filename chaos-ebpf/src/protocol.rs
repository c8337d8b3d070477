//! Numbers of protocols and extension headers, as IP says what comes next (IANA's "Assigned Internet Protocol
//! Numbers").

/// Options for each hop.
pub const IPPROTO_HOPOPTS: u8 = 0;
/// ICMP.
pub const IPPROTO_ICMP: u8 = 1;
/// TCP.
pub const IPPROTO_TCP: u8 = 6;
/// UDP.
pub const IPPROTO_UDP: u8 = 17;
/// The way.
pub const IPPROTO_ROUTING: u8 = 43;
/// A part of a packet.
pub const IPPROTO_FRAGMENT: u8 = 44;
/// Authentication.
pub const IPPROTO_AH: u8 = 51;
/// ICMPv6.
pub const IPPROTO_ICMPV6: u8 = 58;
/// Options for the destination.
pub const IPPROTO_DSTOPTS: u8 = 60;
