//! What a packet carries that waits in user space: three VLAN tags in front of its own, sixteen bits each.
//!
//! The kernel keeps tags in front of everything else, whatever the packet is, cuts super-packets with them, and takes
//! the outermost off by itself when the packet comes back.

/// `ETH_P_8021AD`, of all three tags.
pub const LABEL_ETHERTYPE: u16 = 0x88A8;

/// A time is told in units of 2¹² ns, some 4 µs; 32 bits of it are enough for two hours ahead.
const TICK_SHIFT: u32 = 12;

/// When a packet is to leave, and the number of its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// Time of the monotonic clock, in ticks, as far as 32 bits go.
    pub ticks: u32,
    /// Number of its [`Way`](super::Way).
    pub way: u16,
}

impl Label {
    /// How far ahead of now a packet may leave, in nanoseconds: as the horizon of an `fq`.
    pub const HORIZON_NS: u64 = 4_000_000_000_000;
    /// Its tags.
    pub const TAGS: usize = 3;

    /// Of a packet that is to leave at a time of the monotonic clock, in nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn new(departure_ns: u64, way: u16) -> Self {
        // Never too early.
        Self { ticks: ((departure_ns + (1 << TICK_SHIFT) - 1) >> TICK_SHIFT) as u32, way }
    }

    /// When the packet is to leave, in nanoseconds of the monotonic clock, which is not far from now.
    #[must_use]
    pub const fn departure_ns(self, now_ns: u64) -> u64 {
        let now = now_ns >> TICK_SHIFT;
        let ahead = self.ticks.wrapping_sub(now as u32).cast_signed();
        now.saturating_add_signed(ahead as i64) << TICK_SHIFT
    }

    /// What its tags say, the outermost first.
    #[inline(always)]
    #[must_use]
    pub const fn tags(self) -> [u16; Self::TAGS] {
        [self.way, (self.ticks >> 16) as u16, self.ticks as u16]
    }

    /// From its tags, the outermost first.
    #[must_use]
    pub const fn of([way, high, low]: [u16; Self::TAGS]) -> Self {
        Self { ticks: (high as u32) << 16 | low as u32, way }
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_survives_the_tags(
            now in 0u64..1 << 60,
            ahead in 0u64..Label::HORIZON_NS,
            late in 0u64..1_000_000_000_000,
            way: u16,
        ) {
            let (departure, read_at) = (now + ahead, now + late);
            let label = Label::of(Label::new(departure, way).tags());
            prop_assert_eq!(label.way, way);
            let told = label.departure_ns(read_at);
            prop_assert!(told >= departure && told - departure < 1 << TICK_SHIFT);
        }
    }
}
