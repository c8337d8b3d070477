//! What went to another end than it was to.

/// A socket, and where what it sent went.
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

/// Where it was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Redirected {
    /// As in the key.
    pub address: [u64; 2],
    /// As in the key.
    pub port: u32,
    /// The rule that sent it elsewhere.
    pub rule: u32,
    /// 1 if the socket is connected there: whatever it sends goes there.
    pub is_connected: u32,
    /// Keeps the layout.
    pub reserved: u32,
}
