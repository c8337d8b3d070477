//! Answers: of packets, and of calls that would send some.

use super::PARAMETERS;

/// Parameters of [`Action::Reject`](super::Action::Reject).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reject {
    /// An [`Answer`].
    pub answer: u64,
    /// How long the answer to the first packet of a connection waits; 0 is not at all.
    pub wait_ns: u64,
}

/// Parameters of [`Action::Refuse`](super::Action::Refuse).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refuse {
    /// How the call fails; more than 0.
    pub errno: u64,
    /// Which calls fail: bits of [`Operation`](super::super::Operation), of connecting, binding and sending.
    pub operations: u64,
}

impl Refuse {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.errno, self.operations, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { errno: words[0], operations: words[1] }
    }
}

/// What the sender of a rejected packet gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Answer {
    /// The end of its TCP connection; over UDP as [`Answer::PortUnreachable`].
    Reset = 1,
    /// ICMP: nobody listens there.
    PortUnreachable = 2,
    /// ICMP: no such host.
    HostUnreachable = 3,
    /// ICMP: no way to it.
    NetworkUnreachable = 4,
    /// ICMP: an administrator forbade it.
    Prohibited = 5,
}

impl Answer {
    /// The code of an ICMP or ICMPv6 "destination unreachable".
    #[inline(always)]
    #[must_use]
    pub const fn code(answer: u32, is_v4: bool) -> u8 {
        match (answer, is_v4) {
            (3, true) => 1,
            (3, false) => 3,
            (4, _) => 0,
            (5, true) => 13,
            (5, false) => 1,
            (_, true) => 3,
            (_, false) => 4,
        }
    }
}

impl Reject {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.answer, self.wait_ns, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { answer: words[0], wait_ns: words[1] }
    }
}
