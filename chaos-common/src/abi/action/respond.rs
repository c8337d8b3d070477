//! Answers to questions, in a name server's place.

use super::PARAMETERS;

/// Parameters of [`Action::Respond`](super::Action::Respond).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Respond {
    /// The code of the response (RFC 1035, 4.1.1).
    pub code: u64,
    /// 1 when the rule has [`Records`](super::super::Records).
    pub has_records: u64,
    /// 1 when the response says that it is cut short (TC), and has no records.
    pub is_cut: u64,
}

impl Respond {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        [self.code, self.has_records, self.is_cut, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { code: words[0], has_records: words[1], is_cut: words[2] }
    }
}
