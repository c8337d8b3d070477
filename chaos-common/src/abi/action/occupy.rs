//! Calls that bind to a port.

use super::super::FAMILY_V4;
use super::PARAMETERS;

/// Parameters of [`Action::Occupy`](super::Action::Occupy). The ports are prefixes of the rule: see
/// [`PREFIX_PORT`](super::PREFIX_PORT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupy {
    /// `FAMILY_V4`, `FAMILY_V6`, or 0 for both.
    pub family: u64,
    /// The address in network byte order, in memory; an IPv4 address fills the first four bytes. All zero is every
    /// address of the family.
    pub address: [u64; 2],
}

impl Occupy {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let Self { family, address: [first, second] } = self;
        [family, first, second, 0, 0, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        Self { family: words[0], address: [words[1], words[2]] }
    }

    /// Whether its address is in the way of a socket that would be bound to this one, written in the same way. Bound
    /// to all of IPv6, a socket `takes_v4` too, unless it was told not to.
    #[inline(always)]
    #[must_use]
    pub const fn meets(&self, family: u32, address: [u64; 2], takes_v4: bool) -> bool {
        let is_any = address[0] == 0 && address[1] == 0;
        let is_all = self.address[0] == 0 && self.address[1] == 0;
        if self.family == 0 {
            return true;
        }
        if self.family != family as u64 {
            return self.family == FAMILY_V4 as u64 && is_any && takes_v4;
        }
        is_all || is_any || (self.address[0] == address[0] && self.address[1] == address[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_way_of_itself_and_of_all() {
        let taken = |family, first| Occupy { family, address: [first, 0] };
        for (taken, family, address, takes_v4, meets) in [
            (taken(0, 0), 4, 7, false, true),
            (taken(0, 0), 6, 7, false, true),
            (taken(4, 0), 4, 7, false, true),
            (taken(4, 0), 4, 0, false, true),
            (taken(4, 0), 6, 7, true, false),
            (taken(4, 0), 6, 0, true, true),
            (taken(4, 0), 6, 0, false, false),
            (taken(4, 7), 4, 7, false, true),
            (taken(4, 7), 4, 8, false, false),
            (taken(4, 7), 4, 0, false, true),
            (taken(4, 7), 6, 7, true, false),
            (taken(4, 7), 6, 0, true, true),
            (taken(6, 0), 6, 7, false, true),
            (taken(6, 0), 4, 0, false, false),
            (taken(6, 7), 6, 7, false, true),
            (taken(6, 7), 6, 8, false, false),
            (taken(6, 7), 6, 0, false, true),
            (taken(6, 7), 4, 7, false, false),
        ] {
            let found = taken.meets(family, [address, 0], takes_v4);
            assert_eq!(found, meets, "{taken:?}: {family} {address} {takes_v4}");
        }
    }
}
