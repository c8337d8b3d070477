//! What goes to another end than it was to.

use super::PARAMETERS;

/// Parameters of [`Action::Redirect`](super::Action::Redirect). A port of 0: over that family there is no other end, and
/// the call fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// In network byte order.
    pub v4: [u8; 4],
    /// In host byte order.
    pub v4_port: u16,
    /// In network byte order.
    pub v6: [u8; 16],
    /// In host byte order.
    pub v6_port: u16,
}

impl Redirect {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.v6;
        let [v4_a, v4_b, v4_c, v4_d] = self.v4;
        let v4 = u64::from_ne_bytes([v4_a, v4_b, v4_c, v4_d, 0, 0, 0, 0]);
        let first = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let last = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
        [v4, self.v4_port as u64, first, last, self.v6_port as u64, 0]
    }

    /// The end over IPv4, in as many words as one of IPv6 has, and its port.
    #[inline(always)]
    #[must_use]
    pub const fn v4_of(words: &[u64; PARAMETERS]) -> ([u64; 2], u16) {
        ([words[0], 0], words[1] as u16)
    }

    /// The same over IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn v6_of(words: &[u64; PARAMETERS]) -> ([u64; 2], u16) {
        ([words[2], words[3]], words[4] as u16)
    }
}
