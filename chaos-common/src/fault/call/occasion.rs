//! Which of the matching calls fail.

use std::fmt;

use crate::{
    abi::Dice,
    invalid::{At, Invalid},
    proto::v1,
    value::{Every, Percent},
    wire::percent,
};

/// Which of the matching calls fail: each by chance, or from one on each so manieth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Occasion {
    percent: Percent,
    skip: u64,
    every: Option<Every>,
}

impl Occasion {
    /// Checks that they fit together.
    ///
    /// # Errors
    /// When there is a chance as well as a rhythm, or none of both.
    pub fn new(
        percent: Option<Percent>,
        skip: Option<u64>,
        every: Option<Every>,
    ) -> Result<Self, Invalid> {
        if percent.is_some() && every.is_some() {
            let problem = "give either `percent`, a chance, or `every`, a rhythm";
            return Err(Invalid::new(problem).at("every"));
        }
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        Ok(Self { percent, skip: skip.unwrap_or(0), every })
    }

    /// Dice that fall so.
    #[must_use]
    pub fn dice(&self, seed: u64) -> Dice {
        let every = self.every.map_or(0, Every::get);
        Dice { first: self.skip, every, ..Dice::percent(seed, self.percent.chance()) }
    }

    /// The parts, as they are written; what says nothing is absent.
    #[must_use]
    pub fn parts(&self) -> (Option<Percent>, Option<u64>, Option<Every>) {
        let percent = (self.percent != Percent::ALL).then_some(self.percent);
        (percent, (self.skip > 0).then_some(self.skip), self.every)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (percent, skip, every) = self.parts();
        if let Some(percent) = percent {
            write!(f, ", {percent}")?;
        }
        if let Some(every) = every {
            write!(f, ", {every}")?;
        }
        match skip {
            Some(skip) => write!(f, ", not the first {skip}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<v1::Occasion> for Occasion {
    type Error = Invalid;

    fn try_from(wire: v1::Occasion) -> Result<Self, Invalid> {
        let every = wire.every.map(|every| every.try_into().at("every")).transpose()?;
        Self::new(percent(wire.percent).at("percent")?, wire.skip, every)
    }
}

impl From<&Occasion> for v1::Occasion {
    fn from(occasion: &Occasion) -> Self {
        let (percent, skip, every) = occasion.parts();
        Self { percent: percent.map(Percent::get), skip, every: every.map(Every::get) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_begins_behind_what_is_skipped() {
        let every = Some(3.try_into().unwrap());
        let fired = |occasion: Occasion| {
            occasion
                .dice(1)
                .sequence()
                .take(9)
                .enumerate()
                .filter(|(_, fires)| *fires)
                .map(|(n, _)| n)
                .collect::<Vec<_>>()
        };
        assert_eq!(fired(Occasion::new(None, Some(4), None).unwrap()), [4, 5, 6, 7, 8]);
        assert_eq!(fired(Occasion::new(None, Some(1), every).unwrap()), [1, 4, 7]);
        assert_eq!(fired(Occasion::new(None, None, every).unwrap()), [0, 3, 6]);
        let refused = Occasion::new(Some(Percent::ALL), None, every).unwrap_err();
        assert_eq!(refused.field, "every");
    }
}
