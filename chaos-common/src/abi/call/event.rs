//! What the `call` engine reports of a firing.

/// One firing of a `call` rule: a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes))]
#[repr(C)]
pub struct CallEvent {
    /// When, on the boot clock.
    pub time_ns: u64,
    /// The event's number within its rule, from 0.
    pub n: u64,
    /// How long it is held, if it does not fail.
    pub delay_ns: u64,
    /// The rule.
    pub rule: u32,
    /// The process that called.
    pub pid: u32,
    /// The thread of it.
    pub thread: u32,
    /// What the call failed with, or 0.
    pub errno: u32,
    /// 1 if `number` is an [`Operation`](super::Operation), 0 if it is a system call for 64-bit programs.
    pub is_operation: u32,
    /// Which.
    pub number: u32,
}
