//! What went to another end than it was to.

/// A socket that names its ends, and where what it sent went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RedirectedKey {
    /// The kernel's number of the socket, never another's.
    pub cookie: u64,
    /// In network byte order, in memory; an IPv4 address fills the first half of the first.
    pub address: [u64; 2],
    /// In host byte order.
    pub port: u32,
    /// `FAMILY_V4` or `FAMILY_V6`.
    pub family: u32,
}

/// Where it was to go; or where a socket was to be connected to that is connected elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Redirected {
    /// As in the key.
    pub address: [u64; 2],
    /// As in the key.
    pub port: u32,
    /// The rule that sent it elsewhere.
    pub rule: u32,
}

/// Sockets that can be connected elsewhere at the same time.
pub const MAX_CONNECTED: u32 = 65_536;
