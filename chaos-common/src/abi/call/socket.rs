//! Which sockets a rule of the `call` engine is about.

use super::super::PortSet;

/// Families of sockets, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SocketFamily {
    /// IPv4.
    V4 = 1,
    /// IPv6.
    V6 = 2,
    /// Unix.
    Unix = 4,
    /// All others.
    Other = 8,
}

/// Which sockets a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketFilter {
    /// Bits of [`SocketFamily`]; 0 is all.
    pub families: u32,
    /// Bits of [`Protocol`](super::super::Protocol); 0 is all, other protocols too.
    pub protocols: u32,
    /// A [`Remotes`](super::super::Remotes).
    pub remotes: u32,
    /// Zero.
    pub padding: u32,
    /// Ports of the other end, or, where a socket is bound or listens, its own.
    pub ports: PortSet,
}
