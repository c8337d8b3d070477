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
        if self.correlation == Percent::ZERO {
            return Dice::percent(seed, self.percent.chance());
        }
        let (p, r) = (self.percent.get() / 100.0, self.correlation.get() / 100.0);
        let chance = |p: f64| Chance::of_2_32((p * Chance::ALWAYS.share() as f64).round() as u64);
        let to_bad = chance(p * (1.0 - r));
        let to_good = chance((1.0 - p) * (1.0 - r));
        Dice::two_states(seed, to_bad, to_good, Chance::NEVER, Chance::ALWAYS)
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
    fn what_decides_nothing_is_refused() {
        assert!(Share::new(Percent::ZERO, None).is_err());
        assert!(Share::new(Percent::ALL, Some(Percent::ALL)).is_err());
        assert_eq!(share(30.0, 25.0).to_string(), "30 % (correlation 25 %)");
        assert_eq!(share(30.0, 0.0), Share::new(30.0.try_into().unwrap(), None).unwrap());
    }
}
