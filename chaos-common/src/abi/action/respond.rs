//! Answers to questions, in a name server's place.

use super::PARAMETERS;

/// Parameters of [`Action::Respond`](super::Action::Respond).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Respond {
    /// The code of the response (RFC 1035, 4.1.1).
    pub code: u64,
}

impl Respond {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.code, 0, 0, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { code: words[0] }
    }
}
