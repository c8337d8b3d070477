//! Which of the matching calls fail, one in each run.

use std::{ops::RangeInclusive, str::FromStr};

use chaos_common::invalid::{Invalid, shown};

/// Runs of a sweep that does not say where it ends.
pub(crate) const MOST: u64 = 1000;

/// Positions of calls: the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions {
    first: u64,
    last: Option<u64>,
}

/// What is tried, given how many matching calls there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Empty if there are not so many calls.
    pub(crate) positions: RangeInclusive<u64>,
    /// Where to go on, if that is not all there is.
    pub(crate) next: Option<u64>,
}

impl Positions {
    /// All there are.
    pub(crate) const ALL: Self = Self { first: 1, last: None };

    /// Those to try. Where no end is given it is that of the calls, if those are not too many; an end that is given
    /// is kept, since a command may make more calls when one of them fails.
    pub(crate) fn among(self, calls: u64) -> Chosen {
        let most = self.first.saturating_add(MOST - 1);
        let last = self.last.unwrap_or(calls.min(most));
        let next = (self.last.is_none() && last < calls).then_some(last + 1);
        Chosen { positions: self.first..=last, next }
    }
}

impl FromStr for Positions {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let positions = match text.split_once("..") {
            None => number(text).map(|only| Self { first: only, last: Some(only) }),
            Some(("", "")) => Some(Self::ALL),
            Some((first, "")) => number(first).map(|first| Self { first, last: None }),
            Some(("", last)) => number(last).map(|last| Self { first: 1, last: Some(last) }),
            Some((first, last)) => number(first)
                .zip(number(last))
                .map(|(first, last)| Self { first, last: Some(last) })
                .filter(|positions| positions.last >= Some(positions.first)),
        };
        positions.ok_or_else(|| {
            Invalid::new(format!(
                "{} are no positions of calls; write 7, 10..20, 10.. or ..20, the first call being 1",
                shown(text)
            ))
        })
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(text: &str, calls: u64) -> (RangeInclusive<u64>, Option<u64>) {
        let Chosen { positions, next } = text.parse::<Positions>().unwrap().among(calls);
        (positions, next)
    }

    #[test]
    fn an_end_that_is_not_given_is_that_of_the_calls() {
        assert_eq!(among("..", 12), (1..=12, None));
        assert_eq!(among("5..", 12), (5..=12, None));
        assert!(among("13..", 12).0.is_empty());
        assert_eq!(among("..", 2500), (1..=1000, Some(1001)));
        assert_eq!(among("1001..", 2500), (1001..=2000, Some(2001)));
        assert_eq!(among("2001..", 2500), (2001..=2500, None));
    }

    #[test]
    fn an_end_that_is_given_is_kept() {
        assert_eq!(among("..20", 12), (1..=20, None));
        assert_eq!(among("7", 12), (7..=7, None));
        assert_eq!(among("10..2000", 3000), (10..=2000, None));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "0", "0..3", "5..4", "a..b", "-1", "1...3", "1..2..3", "..0"] {
            let error = text.parse::<Positions>().unwrap_err();
            assert!(error.problem.contains("10..20"), "{text}: {error}");
        }
    }
}
