//! The few numbers that stand for many.

/// The middle one; zero of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The smallest value that this share of all does not exceed.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The sum over the number of values; zero of none.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The largest distance between the share of samples up to a value and the chance of a value up to it
/// (Kolmogorov and Smirnov).
pub(crate) fn distance(samples: &[f64], chance: impl Fn(f64) -> f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let at = |(below, value): (usize, &f64)| {
        let (below, chance) = (below as f64, chance(*value));
        (chance - below / count).abs().max(((below + 1.0) / count - chance).abs())
    };
    sorted.iter().enumerate().map(at).fold(0.0, f64::max)
}

/// What that distance exceeds in one of a hundred samples of so many values that do follow the distribution.
pub(crate) fn critical_distance(count: usize) -> f64 {
    1.628 / (count as f64).sqrt()
}

/// Chance of a value up to this one, of the normal distribution with mean 0 and standard deviation 1.
pub(crate) fn normal(value: f64) -> f64 {
    // Abramowitz and Stegun, 26.2.17: off by less than 7.5e-8.
    const FACTORS: [f64; 5] = [0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429];
    let t = 1.0 / (1.0 + 0.2316419 * value.abs());
    let series = FACTORS.iter().rev().fold(0.0, |sum, factor| (sum + factor) * t);
    let density = (-value * value / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let beyond = density * series;
    if value < 0.0 { beyond } else { 1.0 - beyond }
}

/// The same of the Pareto distribution of index 3, moved and stretched to mean 0 and standard deviation 1.
pub(crate) fn pareto(value: f64) -> f64 {
    // Before that it begins at 1, with mean 3/2 and variance 3/4.
    let original = 1.5 + value * 0.75f64.sqrt();
    if original <= 1.0 { 0.0 } else { 1.0 - original.powi(-3) }
}

/// The same of even chances from -1 to 1.
pub(crate) fn uniform(value: f64) -> f64 {
    ((value + 1.0) / 2.0).clamp(0.0, 1.0)
}

/// Between which counts that of what has this chance is in 99 % of all runs of so many trials.
pub(crate) fn binomial_interval(trials: u32, chance: f64) -> (u32, u32) {
    const BEYOND: f64 = 0.005;
    let odds = (chance / (1.0 - chance)).ln();
    let mut term = f64::from(trials) * (1.0 - chance).ln();
    let (mut sum, mut low) = (0.0, 0);
    for count in 0..=trials {
        sum += term.exp();
        if sum <= BEYOND {
            low = count + 1;
        }
        if sum >= 1.0 - BEYOND {
            return (low, count);
        }
        term += (f64::from(trials - count) / f64::from(count + 1)).ln() + odds;
    }
    (low, trials)
}

/// How many times in a row something was so, each time that it was.
pub(crate) fn runs(so: impl IntoIterator<Item = bool>) -> Vec<f64> {
    let (mut runs, mut length) = (Vec::new(), 0.0);
    for so in so.into_iter().chain([false]) {
        if so {
            length += 1.0;
        } else if length > 0.0 {
            runs.push(std::mem::take(&mut length));
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, to: f64) {
        assert!((value - to).abs() < 1e-6, "{value} is not {to}");
    }

    #[test]
    fn quantiles_are_values() {
        let values = [4.0, 1.0, 3.0, 2.0];
        close(median(&values), 2.0);
        close(quantile(&values, 0.99), 4.0);
        close(quantile(&values, 0.25), 1.0);
        close(quantile(&[], 0.5), 0.0);
    }

    #[test]
    fn a_mean_of_none_is_zero() {
        close(mean(&[]), 0.0);
        close(mean(&[1.0, 2.0]), 1.5);
    }

    #[test]
    fn the_distance_is_the_largest() {
        let even: Vec<f64> = (0..1000).map(|at| (f64::from(at) + 0.5) / 500.0 - 1.0).collect();
        close(distance(&even, uniform), 0.0005);
        close(distance(&[0.0], uniform), 0.5);
        close(distance(&[1.0, 1.0], uniform), 1.0);
        assert!(distance(&even, normal) > critical_distance(even.len()));
        close(critical_distance(10_000), 0.01628);
    }

    #[test]
    fn distributions_have_their_known_values() {
        for (value, chance) in [(0.0, 0.5), (1.0, 0.841_344_75), (-1.959_964, 0.025)] {
            assert!((normal(value) - chance).abs() < 1e-6, "{value}");
        }
        close(pareto(-1.0), 0.0);
        // Half of what begins at 1 is below the cube root of 2.
        close(pareto((2f64.cbrt() - 1.5) / 0.75f64.sqrt()), 0.5);
        close(uniform(0.0), 0.5);
        close(uniform(-2.0), 0.0);
    }

    #[test]
    fn a_binomial_interval_holds_99_of_100() {
        // Where the chance is one half, it lies evenly around the middle, 2.576 deviations wide.
        let (low, high) = binomial_interval(100_000, 0.5);
        assert_eq!((low, high), (49_593, 50_407));
        let (low, high) = binomial_interval(100_000, 0.001);
        assert!((74..77).contains(&low) && (126..129).contains(&high), "{low} {high}");
        assert_eq!(binomial_interval(1, 0.001), (0, 0));
    }

    #[test]
    fn runs_are_counted_to_the_end() {
        assert_eq!(runs([true, true, false, true]), [2.0, 1.0]);
        assert!(runs([false, false]).is_empty());
    }
}
