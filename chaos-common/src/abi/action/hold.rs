//! Packets that wait, and how long.

use super::super::Chance;
use super::PARAMETERS;

/// Parameters of [`Action::Hold`](super::Action::Hold).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// The mean.
    pub latency_ns: u64,
    /// What a [`Shape`] is multiplied with, or without one, the most by which it differs from the mean.
    pub jitter_ns: u64,
    /// The chance that a packet is held as long as the one before.
    pub repeat: Chance,
    /// 1 when there is a [`Shape`].
    pub has_shape: u64,
    /// 1 when no packet overtakes another one of its connection.
    pub keeps_order: u64,
}

impl Hold {
    /// As a rule has them.
    #[must_use]
    pub const fn words(self) -> [u64; PARAMETERS] {
        let Self { latency_ns, jitter_ns, repeat, has_shape, keeps_order } = self;
        [latency_ns, jitter_ns, repeat.share(), has_shape, keeps_order, 0]
    }

    /// From a rule.
    #[inline(always)]
    #[must_use]
    pub const fn of(words: &[u64; PARAMETERS]) -> Self {
        let [latency_ns, jitter_ns, repeat, has_shape, keeps_order, _] = *words;
        Self { latency_ns, jitter_ns, repeat: Chance::of_2_32(repeat), has_shape, keeps_order }
    }
}

/// Parts of a [`Shape`], which has a point at the end of each.
pub const SHAPE_PARTS: usize = 512;
/// What stands for one in a [`Shape`].
pub const SHAPE_ONE: i64 = 1 << 16;

/// A distribution of mean 0, as the values that draws have that are evenly apart, in ascending order and in
/// parts of [`SHAPE_ONE`]. In between the kernel draws straight lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Shape {
    /// The values.
    pub points: [i32; SHAPE_PARTS + 1],
}

impl Shape {
    /// The value of a draw of 32 random bits.
    #[inline(always)]
    #[must_use]
    pub fn value(&self, draw: u32) -> i64 {
        let place = u64::from(draw) * SHAPE_PARTS as u64;
        let (at, rest) = ((place >> 32) as usize, (place & 0xffff_ffff) as i64);
        let (low, high) = (i64::from(self.points[at]), i64::from(self.points[at + 1]));
        low + (((high - low) * (rest >> 8)) >> 24)
    }
}

impl Hold {
    /// How long a packet is held, by a draw of 32 random bits; never less than not at all.
    #[inline(always)]
    #[must_use]
    pub fn time(&self, draw: u32, shape: Option<&Shape>) -> u64 {
        let jitter = self.jitter_ns as i64;
        let off = match shape {
            Some(shape) => multiply(jitter, shape.value(draw)),
            // A draw is a share of 2³²; twice the jitter is the width of the range.
            None => multiply(jitter, (i64::from(draw >> 15)) - SHAPE_ONE),
        };
        let time = self.latency_ns as i64 + off;
        if time > 0 { time as u64 } else { 0 }
    }
}

/// A time by a factor in parts of [`SHAPE_ONE`]; without a division of signed numbers, which BPF has not.
#[inline(always)]
const fn multiply(time: i64, factor: i64) -> i64 {
    // Up to an hour of jitter (2⁴² ns) by a factor of up to 32 (2²¹) fits.
    (time * factor) >> 16
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line() -> Shape {
        let points = core::array::from_fn(|n| {
            (-SHAPE_ONE + 2 * SHAPE_ONE * n as i64 / SHAPE_PARTS as i64) as i32
        });
        Shape { points }
    }

    #[test]
    fn a_shape_is_read_from_end_to_end() {
        let near = |value: i64, wanted: i64| assert!((value - wanted).abs() < 300, "{value}");
        near(line().value(0), -SHAPE_ONE);
        near(line().value(1 << 31), 0);
        near(line().value(u32::MAX), SHAPE_ONE);
    }

    proptest! {
        #[test]
        fn uniform_jitter_stays_in_its_range(latency in 0u64..1 << 42, jitter in 0u64..1 << 42, draw: u32) {
            let hold = Hold { latency_ns: latency, jitter_ns: jitter, ..Hold::default() };
            let time = hold.time(draw, None);
            prop_assert!(time <= latency + jitter && time >= latency.saturating_sub(jitter + 1));
        }

        #[test]
        fn a_shape_stays_in_its_range(draw: u32) {
            prop_assert!(line().value(draw).abs() <= SHAPE_ONE + 1);
        }
    }
}
