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

    /// The chance that it does not happen.
    #[must_use]
    pub const fn not(self) -> Self {
        Self(Self::ALWAYS.0 - self.0)
    }

    /// Whether a draw of 32 random bits falls into it.
    #[inline(always)]
    #[must_use]
    pub const fn includes(self, draw: u32) -> bool {
        (draw as u64) < self.0
    }
}

/// States that a random process can be in.
pub const MAX_STATES: usize = 4;

/// One state of a random process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DiceState {
    /// An event that is met in this state fires.
    pub fires: Chance,
    /// From this state the next event moves to state 0 with the first chance, to state 0 or 1 with the
    /// second, to one of 0 to 2 with the third, and else to state 3.
    pub up_to: [Chance; MAX_STATES - 1],
}

/// A Markov chain of up to four states. Each event first moves to a state, then fires with the chance of
/// the state that it is in.
///
/// A plain percentage never leaves state 0; Gilbert–Elliott has two states, and `first` and `every` need none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Dice {
    /// Chooses the sequence.
    pub seed: u64,
    /// The first event that can fire.
    pub first: u64,
    /// From that one on only each so manieth event can; 0 is as 1.
    pub every: u64,
    /// The states; the first event comes from state 0.
    pub states: [DiceState; MAX_STATES],
}

/// How one event fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roll {
    /// The event fires.
    pub fires: bool,
    /// The state after the event; hand it to the next roll.
    pub state: u32,
}

/// What a further draw for the same event decides, so that draws do not depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Lane {
    /// Whether it fires.
    Fires = 0,
    /// How long a packet is held, and whether as long as the one before.
    Hold = 1,
    /// Which bits of a packet change.
    Corrupt = 2,
    /// Which connections are meant.
    Connection = 3,
    /// Which addresses a question is answered with, and in which order.
    Records = 4,
}

impl Dice {
    /// Dice that fire with one chance, event by event.
    #[must_use]
    pub const fn percent(seed: u64, chance: Chance) -> Self {
        let mut dice = Self::still(seed);
        dice.states[0].fires = chance;
        dice
    }

    /// Dice that fire at the last of each `every` events.
    #[must_use]
    pub const fn every(seed: u64, every: u64) -> Self {
        let mut dice = Self::percent(seed, Chance::ALWAYS);
        dice.every = every;
        dice.first = every.saturating_sub(1);
        dice
    }

    /// Dice of two states, good (0) and bad (1), and how they fire in each.
    #[must_use]
    pub const fn two_states(
        seed: u64,
        to_bad: Chance,
        to_good: Chance,
        fire_good: Chance,
        fire_bad: Chance,
    ) -> Self {
        let mut dice = Self::still(seed);
        dice.states[0].fires = fire_good;
        dice.states[0].up_to[0] = to_bad.not();
        dice.states[1].fires = fire_bad;
        dice.states[1].up_to[0] = to_good;
        dice
    }

    /// Dice that never fire and stay in state 0, or go back to it from the others.
    #[must_use]
    pub const fn still(seed: u64) -> Self {
        let state = DiceState { fires: Chance::NEVER, up_to: [Chance::ALWAYS; MAX_STATES - 1] };
        Self { seed, first: 0, every: 0, states: [state; MAX_STATES] }
    }

    /// Rolls event `n` (from 0), the process being in `state` before it.
    #[inline(always)]
    #[must_use]
    pub const fn roll(&self, n: u64, state: u32) -> Roll {
        let draw = self.draw(n, Lane::Fires);
        let (step, hit) = (draw as u32, (draw >> 32) as u32);
        let up_to = &self.states[state as usize % MAX_STATES].up_to;
        let state = if up_to[0].includes(step) {
            0
        } else if up_to[1].includes(step) {
            1
        } else if up_to[2].includes(step) {
            2
        } else {
            3
        };
        let is_turn =
            n >= self.first && (self.every == 0 || (n - self.first).is_multiple_of(self.every));
        Roll { fires: is_turn && self.states[state].fires.includes(hit), state: state as u32 }
    }

    /// 64 random bits for event `n`.
    #[inline(always)]
    #[must_use]
    pub const fn draw(&self, n: u64, lane: Lane) -> u64 {
        // The seed of a lane is a number of the seed's own stream that no event comes to.
        let seed = match lane {
            Lane::Fires => self.seed,
            Lane::Hold | Lane::Corrupt | Lane::Connection | Lane::Records => {
                mix(self.seed, u64::MAX - lane as u64)
            }
        };
        mix(seed, n)
    }

    /// The whole sequence from event 0 on, as the kernel rolls it.
    pub fn sequence(self) -> impl Iterator<Item = bool> {
        let mut state = 0;
        (0..).map(move |n| {
            let roll = self.roll(n, state);
            state = roll.state;
            roll.fires
        })
    }
}

/// Draw `n` of the stream `seed`: the SplitMix64 generator (Steele, Lea and Flood, OOPSLA 2014),
/// which can be entered at any position.
#[inline(always)]
pub const fn mix(seed: u64, n: u64) -> u64 {
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
        let (enter, leave) = (chance(1.0), chance(25.0));
        let dice = Dice::two_states(3, enter, leave, Chance::NEVER, Chance::ALWAYS);
        let fired: Vec<bool> = dice.sequence().take(200_000).collect();
        let bursts = fired.windows(2).filter(|w| !w[0] && w[1]).count();
        let lost = fired.iter().filter(|f| **f).count();
        let mean = lost as f64 / bursts as f64;
        assert!((3.7..4.3).contains(&mean), "mean burst length {mean}, asked 1 / 25 % = 4");
    }

    #[test]
    fn every_third_is_every_third() {
        let fired: Vec<bool> = Dice::every(9, 3).sequence().take(7).collect();
        assert_eq!(fired, [false, false, true, false, false, true, false]);
    }

    #[test]
    fn from_one_on_each_third() {
        let dice = Dice { first: 1, ..Dice::every(9, 3) };
        let fired: Vec<bool> = dice.sequence().take(8).collect();
        assert_eq!(fired, [false, true, false, false, true, false, false, true]);
        let dice = Dice { first: 2, every: 0, ..Dice::percent(9, Chance::ALWAYS) };
        let fired: Vec<bool> = dice.sequence().take(4).collect();
        assert_eq!(fired, [false, false, true, true]);
    }

    #[test]
    fn draws_for_different_things_differ() {
        let dice = Dice::percent(1, Chance::ALWAYS);
        let lanes = [Lane::Fires, Lane::Hold, Lane::Corrupt, Lane::Connection];
        let mut draws = lanes.map(|lane| dice.draw(0, lane));
        draws.sort_unstable();
        assert!(draws.windows(2).all(|pair| pair[0] != pair[1]));
    }

    proptest! {
        #[test]
        fn never_and_always_hold_for_every_seed(seed: u64, n: u64, state in 0u32..8) {
            prop_assert!(!Dice::percent(seed, Chance::NEVER).roll(n, state).fires);
            prop_assert!(Dice::percent(seed, Chance::ALWAYS).roll(n, state).fires);
        }

        #[test]
        fn the_same_event_always_falls_the_same_way(seed: u64, n: u64, state in 0u32..8, share in 0u64..=1 << 32) {
            let dice = Dice::percent(seed, Chance::of_2_32(share));
            prop_assert_eq!(dice.roll(n, state), dice.roll(n, state));
        }
    }
}
