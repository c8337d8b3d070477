//! Two or more conditions, measured in turn.
//!
//! Every round visits every condition, each round beginning with another one, so that what changes slowly
//! (clock speed, other guests of the machine) hits all alike. What counts is the median over the rounds of the
//! ratio within one round.

use anyhow::Result;

use crate::statistics::{median, quantile};

/// Takes a condition back.
pub(crate) type Leave<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// A state of the machine.
pub(crate) type Condition<'a> = Box<dyn FnMut() -> Result<Leave<'a>> + 'a>;

/// The machine as it is.
pub(crate) fn nothing<'a>() -> Condition<'a> {
    Box::new(|| Ok(Box::new(|| Ok(()))))
}

/// By condition, operation and round.
pub(crate) struct Samples(Vec<Vec<Vec<f64>>>);

impl Samples {
    /// The ratio of two conditions.
    pub(crate) fn ratio(&self, of: usize, to: usize, operation: usize) -> f64 {
        let rounds = self.0[of][operation].iter().zip(&self.0[to][operation]);
        median(&rounds.map(|(of, to)| of / to).collect::<Vec<_>>())
    }

    /// Between which ratios the middle half of the rounds lies.
    pub(crate) fn spread(&self, of: usize, to: usize, operation: usize) -> (f64, f64) {
        let rounds = self.0[of][operation].iter().zip(&self.0[to][operation]);
        let ratios: Vec<f64> = rounds.map(|(of, to)| of / to).collect();
        (quantile(&ratios, 0.25), quantile(&ratios, 0.75))
    }

    /// The figure of one condition.
    pub(crate) fn figure(&self, condition: usize, operation: usize) -> f64 {
        median(&self.0[condition][operation])
    }
}

/// Measures; one round before the first does not count.
pub(crate) fn compare(
    rounds: u32,
    conditions: &mut [Condition<'_>],
    mut measure: impl FnMut() -> Result<Vec<f64>>,
) -> Result<Samples> {
    let mut samples = vec![Vec::new(); conditions.len()];
    for round in 0..=rounds as usize {
        visit(round, conditions, |at| {
            let figures = measure()?;
            if round == 0 {
                samples[at] = vec![Vec::new(); figures.len()];
            } else {
                for (kept, figure) in samples[at].iter_mut().zip(figures) {
                    kept.push(figure);
                }
            }
            Ok(())
        })?;
    }
    Ok(Samples(samples))
}

/// What each condition gave in all rounds together, where the figures of a round are many of the same thing.
pub(crate) fn pool<const CONDITIONS: usize>(
    rounds: u32,
    conditions: &mut [Condition<'_>; CONDITIONS],
    mut measure: impl FnMut() -> Result<Vec<f64>>,
) -> Result<[Vec<f64>; CONDITIONS]> {
    let mut pools = std::array::from_fn(|_| Vec::new());
    for round in 0..rounds as usize {
        visit(round, conditions, |at| {
            pools[at].extend(measure()?);
            Ok(())
        })?;
    }
    Ok(pools)
}

/// Every condition once, the first another one in every round.
fn visit(
    round: usize,
    conditions: &mut [Condition<'_>],
    mut measure: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    for turn in 0..conditions.len() {
        let at = (round + turn) % conditions.len();
        let leave = conditions[at]()?;
        measure(at)?;
        leave()?;
    }
    Ok(())
}
