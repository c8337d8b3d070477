//! Exit codes.

use std::process::ExitCode;

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything that was asked for.
    Done,
    /// Nothing of it.
    Failed,
    /// Some of it.
    Partly,
    /// Everything, and it found what somebody should look at.
    Found,
    /// Refused before anything was done: the request itself is wrong (`EX_USAGE`).
    Usage,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Partly => 2,
            Outcome::Found => 3,
            Outcome::Usage => 64,
        })
    }
}

/// Counts how each of several requests went.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: usize,
    failed: usize,
}

impl Tally {
    /// One more that worked.
    pub(crate) fn done(&mut self) {
        self.done += 1;
    }

    /// One more that did not.
    pub(crate) fn failed(&mut self) {
        self.failed += 1;
    }

    /// All of them together; none at all is done.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.done, self.failed) {
            (_, 0) => Outcome::Done,
            (0, _) => Outcome::Failed,
            (_, _) => Outcome::Partly,
        }
    }
}

/// What is said of requests for which the daemon is no longer there; none if there are none.
pub(crate) fn untried(left: usize) -> Option<String> {
    match left {
        0 => None,
        1 => Some("1 more was not tried".to_owned()),
        left => Some(format!("{left} more were not tried")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_is_neither_all_nor_none() {
        let tally = |done, failed| Tally { done, failed }.outcome();
        assert_eq!(tally(0, 0), Outcome::Done);
        assert_eq!(tally(2, 0), Outcome::Done);
        assert_eq!(tally(0, 2), Outcome::Failed);
        assert_eq!(tally(1, 1), Outcome::Partly);
    }
}
