//! How long a fault lasts.

use std::{fmt, str::FromStr, time::Duration};

use crate::invalid::{Invalid, plain, shown};

/// A duration of 1 ms to 30 days. A node's policy may allow less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(Duration);

impl Lifetime {
    /// The shortest.
    pub const MIN: Self = Self(Duration::from_millis(1));
    /// The longest.
    pub const MAX: Self = Self(Duration::from_secs(30 * 24 * 3600));
    /// What an injection gets that does not say.
    pub const DEFAULT: Self = Self(Duration::from_secs(5 * 60));

    /// The duration itself.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl Lifetime {
    /// Checks a duration; an error says it as it was written.
    fn checked(duration: Duration, written: impl fmt::Display) -> Result<Self, Invalid> {
        let lifetime = Self(duration);
        if lifetime < Self::MIN {
            return Err(Invalid::new(format!(
                "a fault of {written} would be over before it began; give at least {}",
                Self::MIN
            )));
        }
        if lifetime > Self::MAX {
            return Err(Invalid::new(format!(
                "{written} is too long; the most is {}, and a running fault can be renewed",
                Self::MAX
            )));
        }
        Ok(lifetime)
    }
}

impl TryFrom<Duration> for Lifetime {
    type Error = Invalid;

    fn try_from(duration: Duration) -> Result<Self, Invalid> {
        Self::checked(duration, humantime::format_duration(duration))
    }
}

impl FromStr for Lifetime {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let duration = humantime::parse_duration(text).map_err(|_| {
            Invalid::new(format!("{} is no duration; write it as 90s, 5m or 1h30m", shown(text)))
        })?;
        Self::checked(duration, plain(text))
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

super::serde_as_text!(Lifetime, "a duration, as 90s, 5m or 1h30m");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_it_as_it_was_written() {
        let error = "31d".parse::<Lifetime>().unwrap_err();
        assert!(error.problem.starts_with("31d is too long; the most is 30days"), "{error}");
        let error = "1us".parse::<Lifetime>().unwrap_err();
        assert!(error.problem.starts_with("a fault of 1us would be over"), "{error}");
    }

    #[test]
    fn accepts_what_people_write_and_nothing_absurd() {
        assert_eq!("5m".parse::<Lifetime>().unwrap(), Lifetime::DEFAULT);
        assert_eq!("1h 30m".parse::<Lifetime>().unwrap().get(), Duration::from_secs(5400));
        for text in ["0s", "", "-5m", "5", "1000years", "NaN", "5m\0", "999999999999999999999s"] {
            let error = text.parse::<Lifetime>().unwrap_err();
            assert!(!error.problem.contains('\0'), "{error}");
        }
    }
}
