//! Questions to name servers (RFC 1035), and which of them a rule is about.

use super::Chance;

/// Bytes of a name that are told from each other: with its length bytes, and a zero at its end, which a name of the
/// longest kind has no room for.
pub const NAME_BYTES: usize = 252;
/// Bits of a [`Name`] before the name, to be added to the length of its prefix.
pub const NAME_HEAD_BITS: u32 = 32;
/// Types of records that one rule can name.
pub const MAX_QUESTION_TYPES: usize = 8;

/// Names of a rule, as a prefix: read from its end, a name's parent domains are what it begins with.
///
/// `api.example.com` is `moc\x83elpmaxe\x87ipa\x83` and a zero: the bytes of the question's name from the last one to
/// the first, without the root's; lengths by [`Self::of_length`], letters by [`Self::of_letter`]. Read from the end, a
/// length could else be a letter of a longer label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct Name {
    /// The rule.
    pub rule: u32,
    /// From its end.
    pub bytes: [u8; NAME_BYTES],
}

impl Name {
    /// A label's length, which no letter is.
    #[inline(always)]
    #[must_use]
    pub const fn of_length(byte: u8) -> u8 {
        byte | 0x80
    }

    /// A letter, a small one; what is in no rule is like any other such. Without branches, of which a program would have as
    /// many as a name has letters.
    #[inline(always)]
    #[must_use]
    pub const fn of_letter(byte: u8) -> u8 {
        const OTHER: u64 = 0x7f;
        let byte = byte as u64;
        let is_capital =
            (b'A' as u64 - 1).wrapping_sub(byte) >> 63 & byte.wrapping_sub(b'Z' as u64 + 1) >> 63;
        let is_other = byte >> 7;
        ((byte + is_capital * 32) * (1 - is_other) + OTHER * is_other) as u8
    }
}

/// Values of [`QuestionFilter::asks`]: what a packet over UDP is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Asks {
    /// Anything.
    Anything = 0,
    /// A question to a name server.
    Query = 1,
    /// The response to one.
    Response = 2,
}

/// Values of [`QuestionFilter::tcp`]: what becomes of connections to name servers, in which questions are not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Nothing.
    Passes = 0,
    /// The first packet of each is answered as where nobody listens.
    IsRefused = 1,
    /// Each ends with the first data that it is to carry.
    IsReset = 2,
    /// Its packets vanish.
    IsSilent = 3,
    /// The first packet of each is met by the rule's action, as a question is.
    OpensAsAsked = 4,
}

/// Which questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct QuestionFilter {
    /// An [`Asks`].
    pub asks: u32,
    /// 1 if only names with a [`PREFIX_INCLUDE`](super::PREFIX_INCLUDE) are meant; 0 is all.
    pub is_listed: u32,
    /// A [`Stream`].
    pub tcp: u32,
    /// Keeps the layout.
    pub reserved: u32,
    /// The share of connections, each chosen once.
    pub streams: Chance,
    /// Types of records; 0 ends the list, and none is all.
    pub types: [u16; MAX_QUESTION_TYPES],
}

impl Default for QuestionFilter {
    /// Any packet.
    fn default() -> Self {
        Self {
            asks: Asks::Anything as u32,
            is_listed: 0,
            tcp: Stream::Passes as u32,
            reserved: 0,
            streams: Chance::ALWAYS,
            types: [0; MAX_QUESTION_TYPES],
        }
    }
}

impl QuestionFilter {
    /// Whether a type of records is meant.
    #[inline(always)]
    #[must_use]
    pub const fn has_type(&self, wanted: u16) -> bool {
        if self.types[0] == 0 {
            return true;
        }
        let mut at = 0;
        // None is of type 0, which ends the list.
        while at < MAX_QUESTION_TYPES && wanted != 0 {
            if self.types[at] == wanted {
                return true;
            }
            at += 1;
        }
        false
    }
}
