//! Packets that come more than once.

use super::PARAMETERS;

/// Parameters of [`Action::Duplicate`](super::Action::Duplicate).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duplicate {
    /// How many come besides the packet itself; at most [`MAX_COPIES`].
    pub copies: u64,
}

/// Copies of one packet, of all rules together.
pub const MAX_COPIES: u32 = 8;

impl Duplicate {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.copies, 0, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { copies: words[0] }
    }
}
