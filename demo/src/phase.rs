//! The course of the demo, and which request belongs to which part of it. Pure.

use std::time::Duration;

use crate::clock::Moment;

/// A part of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Before,
    During,
    After,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Before, Self::During, Self::After];

    /// How long it takes. The fault's own deadline ends the second.
    pub(crate) const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Before | Self::After => 5,
            Self::During => 12,
        })
    }

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}

/// Moments that were measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// The traffic counts from here.
    pub(crate) began: Moment,
    /// Before and after the call that injected. The deadline was set in between.
    pub(crate) injected: Option<(Moment, Moment)>,
}

impl Course {
    /// A course that begins now.
    pub(crate) fn begin() -> Self {
        Self { began: Moment::now(), injected: None }
    }

    /// The phase in which a request that began then lies entirely at its beginning; none in the moments of change.
    pub(crate) fn of(&self, moment: Moment) -> Option<Phase> {
        let Some((call, answer)) = self.injected else {
            return (moment >= self.began).then_some(Phase::Before);
        };
        let length = Phase::During.length();
        if moment < call {
            (moment >= self.began).then_some(Phase::Before)
        } else if moment < answer {
            None
        } else if moment < call.after(length) {
            Some(Phase::During)
        } else if moment < answer.after(length) {
            None
        } else {
            (moment < answer.after(length + Phase::After.length())).then_some(Phase::After)
        }
    }

    /// When the kernel ends the fault.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        Some(self.injected?.1.after(Phase::During.length()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_change_belong_to_no_phase() {
        let at = |millis| Moment(Duration::from_millis(millis));
        let mut course = Course { began: at(1000), injected: None };
        assert_eq!(course.of(at(999)), None);
        assert_eq!(course.of(at(9000)), Some(Phase::Before));
        course.injected = Some((at(6000), at(6100)));
        let phases = [5999, 6000, 6100, 17_999, 18_000, 18_100, 23_099, 23_100]
            .map(|moment| course.of(at(moment)));
        let (before, during, after) =
            (Some(Phase::Before), Some(Phase::During), Some(Phase::After));
        assert_eq!(phases, [before, None, during, during, None, after, after, None]);
        assert_eq!(course.deadline(), Some(at(18_100)));
    }
}
