//! Reproducible dice: event `n` of a rule with a seed always falls the same way.

/// A probability as a share of 2³², so that the kernel needs no floating point.
///
/// 0 never happens, [`Chance::ALWAYS`] always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Chance(u64);

impl Chance {
    /// What never happens.
    pub const NEVER: Self = Self(0);
    /// What always happens.
    pub const ALWAYS: Self = Self(1 << 32);

    /// The chance of `share` out of 2³²; more than the whole counts as the whole.
    #[must_use]
    pub const fn of_2_32(share: u64) -> Self {
        if share > Self::ALWAYS.0 { Self::ALWAYS } else { Self(share) }
    }

    /// The share of 2³².
    #[must_use]
    pub const fn share(self) -> u64 {
        self.0
    }

    #[inline(always)]
    const fn includes(self, draw: u32) -> bool {
        (draw as u64) < self.0
    }
}

/// A two-state loss process (Gilbert–Elliott). Each event first moves between the *good* and the
/// *bad* state, then fires with the chance of the state it is in.
///
/// A plain percentage is the special case that never leaves the good state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Dice {
    /// Chooses the sequence.
    pub seed: u64,
    /// Good → bad.
    pub to_bad: Chance,
    /// Bad → good.
    pub to_good: Chance,
    /// Firing while good.
    pub fire_good: Chance,
    /// Firing while bad.
    pub fire_bad: Chance,
}

/// How one event fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll {
    /// The event fires.
    pub fires: bool,
    /// The state after the event; hand it to the next roll.
    pub bad: bool,
}

impl Dice {
    /// Dice that fire with one chance, event by event.
    #[must_use]
    pub const fn percent(seed: u64, chance: Chance) -> Self {
        Self {
            seed,
            to_bad: Chance::NEVER,
            to_good: Chance::ALWAYS,
            fire_good: chance,
            fire_bad: chance,
        }
    }

    /// Rolls event `n` (from 0), the process being in state `bad` before it.
    #[inline(always)]
    #[must_use]
    pub const fn roll(&self, n: u64, bad: bool) -> Roll {
        let draw = mix(self.seed, n);
        let (step, hit) = (draw as u32, (draw >> 32) as u32);
        let bad = if bad { !self.to_good.includes(step) } else { self.to_bad.includes(step) };
        let chance = if bad { self.fire_bad } else { self.fire_good };
        Roll { fires: chance.includes(hit), bad }
    }

    /// The whole sequence from event 0 on, as the kernel rolls it.
    pub fn sequence(self) -> impl Iterator<Item = bool> {
        let mut bad = false;
        (0..).map(move |n| {
            let roll = self.roll(n, bad);
            bad = roll.bad;
            roll.fires
        })
    }
}

/// Draw `n` of the stream `seed`: the SplitMix64 generator (Steele, Lea and Flood, OOPSLA 2014),
/// which can be entered at any position.
#[inline(always)]
const fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chance(percent: f64) -> Chance {
        Chance::of_2_32((percent / 100.0 * (1u64 << 32) as f64) as u64)
    }

    #[test]
    fn splitmix64_agrees_with_the_published_stream() {
        // First outputs of SplitMix64 seeded with 1234567, as many implementations list them.
        let stream: Vec<u64> = (0..3).map(|n| mix(1_234_567, n)).collect();
        assert_eq!(
            stream,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn percent_stays_inside_the_binomial_interval() {
        for percent in [0.1, 1.0, 10.0, 50.0] {
            let n = 100_000;
            let fired = Dice::percent(7, chance(percent)).sequence().take(n).filter(|f| *f).count();
            let p = percent / 100.0;
            let sigma = (n as f64 * p * (1.0 - p)).sqrt();
            assert!((fired as f64 - n as f64 * p).abs() < 2.576 * sigma, "{percent} %: {fired}");
        }
    }

    #[test]
    fn bursts_have_the_asked_mean_length() {
        let dice = Dice {
            seed: 3,
            to_bad: chance(1.0),
            to_good: chance(25.0),
            fire_good: Chance::NEVER,
            fire_bad: Chance::ALWAYS,
        };
        let fired: Vec<bool> = dice.sequence().take(200_000).collect();
        let bursts = fired.windows(2).filter(|w| !w[0] && w[1]).count();
        let lost = fired.iter().filter(|f| **f).count();
        let mean = lost as f64 / bursts as f64;
        assert!((3.7..4.3).contains(&mean), "mean burst length {mean}, asked 1 / 25 % = 4");
    }

    proptest! {
        #[test]
        fn never_and_always_hold_for_every_seed(seed: u64, n: u64, bad: bool) {
            prop_assert!(!Dice::percent(seed, Chance::NEVER).roll(n, bad).fires);
            prop_assert!(Dice::percent(seed, Chance::ALWAYS).roll(n, bad).fires);
        }

        #[test]
        fn the_same_event_always_falls_the_same_way(seed: u64, n: u64, bad: bool, share in 0u64..=1 << 32) {
            let dice = Dice::percent(seed, Chance::of_2_32(share));
            prop_assert_eq!(dice.roll(n, bad), dice.roll(n, bad));
        }
    }
}
