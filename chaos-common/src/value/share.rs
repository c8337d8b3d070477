//! A share of packets that may come in clusters.

use std::fmt;

use crate::{
    abi::{Chance, Dice},
    invalid::{At, Invalid},
    value::Percent,
};

/// A percentage of packets, and how much the luck of one depends on that of the one before.
///
/// The correlation is that of neighbours: with 0 each packet is alone, and towards 100 the ones that are hit
/// come in ever longer rows. The percentage stays what it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    percent: Percent,
    correlation: Percent,
}

impl Share {
    /// All packets.
    pub const ALL: Self = Self { percent: Percent::ALL, correlation: Percent::ZERO };

    /// Checks both.
    ///
    /// # Errors
    /// When the percentage is 0, or the correlation 100: then the first packet would decide for all.
    pub fn new(percent: Percent, correlation: Option<Percent>) -> Result<Self, Invalid> {
        let percent = percent.above_zero().at("percent")?;
        let correlation = correlation.unwrap_or(Percent::ZERO);
        if correlation == Percent::ALL {
            let problem = "with 100 the first packet would decide for all; give less";
            return Err(Invalid::new(problem).at("correlation"));
        }
        Ok(Self { percent, correlation })
    }

    /// The percentage.
    #[must_use]
    pub fn percent(self) -> Percent {
        self.percent
    }

    /// The correlation, if there is any.
    #[must_use]
    pub fn correlation(self) -> Option<Percent> {
        (self.correlation > Percent::ZERO).then_some(self.correlation)
    }

    /// The dice that the kernel rolls for it.
    #[must_use]
    pub fn dice(self, seed: u64) -> Dice {
        /// Before the first packet, of which nobody knows the neighbour.
        const FRESH: usize = 0;
        const SPARED: usize = 1;
        const HIT: usize = 2;
        let share = self.percent.chance();
        if self.correlation == Percent::ZERO {
            return Dice::percent(seed, share);
        }
        let moves = 1.0 - self.correlation.get() / 100.0;
        let part = |chance: Chance| (chance.share() as f64 * moves).round() as u64;
        let to_hit = Chance::of_2_32(part(share).max(1));
        let to_spared = Chance::of_2_32(part(share.not()));
        let mut dice = Dice::still(seed);
        // Nothing comes back to the state of the beginning.
        let row = |spared: Chance| [Chance::NEVER, spared, Chance::ALWAYS];
        dice.states[FRESH].up_to = row(share.not());
        dice.states[SPARED].up_to = row(to_hit.not());
        dice.states[HIT].up_to = row(to_spared);
        dice.states[HIT].fires = Chance::ALWAYS;
        dice
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.percent.fmt(f)?;
        match self.correlation() {
            Some(correlation) => write!(f, " (correlation {correlation})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(percent: f64, correlation: f64) -> Share {
        Share::new(percent.try_into().unwrap(), Some(correlation.try_into().unwrap())).unwrap()
    }

    #[test]
    fn correlation_is_that_of_neighbours_and_leaves_the_share_alone() {
        let n = 400_000;
        let fired: Vec<f64> =
            share(20.0, 60.0).dice(5).sequence().take(n).map(|f| f64::from(u8::from(f))).collect();
        let mean = fired.iter().sum::<f64>() / n as f64;
        let variance = fired.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / n as f64;
        let covariance =
            fired.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / (n - 1) as f64;
        assert!((mean - 0.2).abs() < 0.006, "mean {mean}");
        let correlation = covariance / variance;
        assert!((correlation - 0.6).abs() < 0.02, "correlation {correlation}");
    }

    #[test]
    fn the_first_packet_is_as_likely_hit_as_any() {
        let n = 20_000;
        let firsts = (0..n).filter(|seed| share(20.0, 99.0).dice(*seed).roll(0, 0).fires).count();
        let mean = firsts as f64 / n as f64;
        assert!((mean - 0.2).abs() < 0.012, "mean {mean}");
    }

    #[test]
    fn the_ends_are_exact_with_a_correlation_too() {
        assert!(share(100.0, 99.9).dice(3).sequence().take(1000).all(|fires| fires));
        // What is not zero does not become zero.
        let rare = share(f64::MIN_POSITIVE, 50.0).dice(3);
        assert!(rare.states.iter().any(|state| state.up_to[1] == Chance::of_2_32(1).not()));
    }

    #[test]
    fn what_decides_nothing_is_refused() {
        assert!(Share::new(Percent::ZERO, None).is_err());
        assert!(Share::new(Percent::ALL, Some(Percent::ALL)).is_err());
        assert_eq!(share(30.0, 25.0).to_string(), "30 % (correlation 25 %)");
        assert_eq!(share(30.0, 0.0), Share::new(30.0.try_into().unwrap(), None).unwrap());
    }
}
