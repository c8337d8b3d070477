//! What a question is answered with, besides a code.

/// Addresses of one family that one rule can have.
pub const MAX_ADDRESSES: usize = 64;
/// Bytes of a record that says under which other name to look: its head and a name; in as much room as old verifiers see
/// that it keeps to.
pub const MAX_ALIAS: usize = 512;

/// An address, or any of a range, each word in network byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Address<const WORDS: usize> {
    /// The bits that are the same each time.
    pub fixed: [u32; WORDS],
    /// 1 for each bit that is drawn.
    pub drawn: [u32; WORDS],
}

impl<const WORDS: usize> Address<WORDS> {
    /// None.
    pub const ZERO: Self = Self { fixed: [0; WORDS], drawn: [0; WORDS] };
}

/// The records of a response: RFC 1035, 3.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Records {
    /// For how many seconds they may be kept, in network byte order.
    pub ttl: u32,
    /// Bytes of `alias` that count; 0 is none.
    pub alias_length: u32,
    /// The sum of those by RFC 1071, folded into 16 bits, as if they began at an even place.
    pub alias_sum: u32,
    /// How many of `v4` count.
    pub v4_count: u32,
    /// How many of `v6` count.
    pub v6_count: u32,
    /// Keeps the layout.
    pub reserved: [u32; 3],
    /// Of type A.
    pub v4: [Address<1>; MAX_ADDRESSES],
    /// Of type AAAA.
    pub v6: [Address<4>; MAX_ADDRESSES],
    /// The whole record that says under which other name they are (CNAME), as packets have it.
    pub alias: [u8; MAX_ALIAS],
}
