//! What programs of the `call` engine ask first of a target's rules.

use super::CALL_WORDS;

/// Targets whose [`Prefilter`] programs find, if no two of them share a remainder.
pub const PREFILTERS: u32 = 4096;

/// What the rules of a target have in common. A call that this leaves out is passed over before any rule is looked up.
///
/// Programs may read it while it changes. Each word of it that an earlier or a later state had admits the calls of all
/// rules that are in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Prefilter {
    /// The target; 0 where nothing is known of any.
    pub cgroup: u64,
    /// System calls that one of the rules is about, as in a rule.
    pub calls: [u64; CALL_WORDS],
    /// The same of operations.
    pub operations: u64,
    /// How the paths begin, as a process says them.
    pub path: Start,
    /// How their first names begin.
    pub top: Start,
    /// How the names of the threads begin.
    pub comm: Start,
}

/// How texts begin: up to seven bytes, and in the highest byte how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Start(u64);

impl Start {
    /// Of any text.
    pub const ANY: Self = Self(0);
    const MOST: usize = 7;
    const LENGTH: u32 = 8 * Self::MOST as u32;

    /// Of a text whose first bytes are known.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let known = &bytes[..bytes.len().min(Self::MOST)];
        let word = known.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        Self(word | (known.len() as u64) << Self::LENGTH)
    }

    /// Of texts that begin so, and others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let same = (self.0 ^ other.0).trailing_zeros() / 8;
        let length = self.length().min(other.length()).min(same);
        Self(self.0 & Self::mask(length) | u64::from(length) << Self::LENGTH)
    }

    /// Whether any text begins so.
    #[inline(always)]
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.0 == 0
    }

    /// Whether a text begins so, given by its first eight bytes in their order. What is behind its end is not looked at,
    /// if there is a zero between.
    #[inline(always)]
    #[must_use]
    pub const fn admits(self, text: u64) -> bool {
        (self.0 ^ u64::from_le(text)) & Self::mask(self.length()) == 0
    }

    #[inline(always)]
    const fn length(self) -> u32 {
        (self.0 >> Self::LENGTH) as u32
    }

    #[inline(always)]
    const fn mask(length: u32) -> u64 {
        // Of seven at the most: the shift says so to those who cannot know.
        (1 << (8 * (length & 7))) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::Start;

    fn text(text: &str) -> u64 {
        let mut bytes = [0; 8];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        u64::from_ne_bytes(bytes)
    }

    #[test]
    fn a_start_admits_what_begins_so() {
        for (start, other, wanted) in [
            ("/data/", "/data/x", true),
            ("/data/", "/data", false),
            ("/data/", "/dat", false),
            ("/data/x/y", "/data/xz", true),
            ("/data\0", "/data", true),
            ("/data\0", "/data/", false),
            ("", "/", true),
            ("", "", true),
            ("/", "", false),
        ] {
            let start = Start::of(start.as_bytes());
            assert_eq!(start.admits(text(other)), wanted, "{start:x?} {other}");
        }
        assert!(Start::of(b"").is_any() && !Start::of(b"/").is_any());
    }

    #[test]
    fn what_two_have_in_common_admits_both() {
        let start = |text: &str| Start::of(text.as_bytes());
        assert_eq!(start("/data/").or(start("/dax")), start("/da"));
        assert_eq!(start("/a").or(start("/a")), start("/a"));
        assert_eq!(start("/a\0").or(start("/a")), start("/a"));
        assert_eq!(start("/a").or(Start::ANY), Start::ANY);
        assert_eq!(start("/123456789").or(start("/123456abc")), start("/123456"));
        assert_eq!(start("x").or(start("y")), Start::ANY);
    }
}
