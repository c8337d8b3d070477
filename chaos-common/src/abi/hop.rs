//! What packets that wait have with them.

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
    /// A [`Mark`](super::Mark): who has judged it.
    pub judged: u32,
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
