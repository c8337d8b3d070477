//! Numbers with units: durations that packets wait, sizes, bit rates.

use std::{fmt, str::FromStr, time::Duration};

use crate::invalid::{Invalid, plain, shown};

/// How long a packet waits: from nothing to an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wait(Duration);

impl Wait {
    /// Not at all.
    pub const NONE: Self = Self(Duration::ZERO);
    /// The longest.
    pub const MAX: Self = Self(Duration::from_secs(3600));

    /// The duration itself.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }

    /// In nanoseconds.
    #[must_use]
    pub fn nanos(self) -> u64 {
        self.0.as_nanos() as u64
    }

    /// The time, if there is any.
    ///
    /// # Errors
    /// When it is none: such a fault would do nothing.
    pub fn above_zero(self) -> Result<Self, Invalid> {
        if self == Self::NONE {
            Err(Invalid::new("no time at all would do nothing; give more than 0s"))
        } else {
            Ok(self)
        }
    }

    fn checked(duration: Duration, written: impl fmt::Display) -> Result<Self, Invalid> {
        let wait = Self(duration);
        if wait > Self::MAX {
            return Err(Invalid::new(format!("{written} is too long; the most is {}", Self::MAX)));
        }
        Ok(wait)
    }
}

impl TryFrom<Duration> for Wait {
    type Error = Invalid;

    fn try_from(duration: Duration) -> Result<Self, Invalid> {
        Self::checked(duration, humantime::format_duration(duration))
    }
}

impl FromStr for Wait {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let duration = humantime::parse_duration(text).map_err(|_| {
            let text = shown(text);
            Invalid::new(format!("{text} is no duration; write it as 100ms, 1s 500ms or 250us"))
        })?;
        Self::checked(duration, plain(text))
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

super::serde_as_text!(Wait, "a duration, as 100ms, 1s 500ms or 250us");

/// A unit and what it stands for, the largest first.
type Units = [(&'static str, u64)];

/// Reads a number and its unit; upper and lower case are the same.
fn parse(text: &str, units: &Units) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim();
    let (_, one) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    let one = u128::from(*one);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // More digits than that have no part of the smallest unit left.
    let parts = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let whole = u128::from(whole.parse::<u64>().ok()?) * one;
    let fraction = fraction.parse::<u128>().ok()?.checked_mul(one)?;
    // What is no whole number of the smallest unit is a mistake.
    let is_whole = fraction.is_multiple_of(parts);
    is_whole.then(|| u64::try_from(whole + fraction / parts).ok())?
}

/// Writes a number in the largest unit that it is a whole number of.
fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &Units) -> fmt::Result {
    let fits = |(_, one): &&(&str, u64)| value != 0 && value.is_multiple_of(*one);
    match units.iter().find(fits).or(units.last()) {
        Some((name, one)) => write!(f, "{}{name}", value / one),
        None => write!(f, "{value}"),
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Bytes {
    const UNITS: &Units = &[
        ("TB", 1_000_000_000_000),
        ("TiB", 1 << 40),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("kB", 1_000),
        ("KiB", 1 << 10),
        ("B", 1),
        ("", 1),
    ];
}

impl FromStr for Bytes {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        parse(text, Self::UNITS).map(Self).ok_or_else(|| {
            let text = shown(text);
            Invalid::new(format!("{text} is no size; write it as 1500B, 64KiB or 10MB"))
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> =
            Self::UNITS.iter().copied().filter(|(name, _)| !name.is_empty()).collect();
        write(f, self.0, &named)
    }
}

super::serde_as_text!(Bytes, "a size, as 1500B, 64KiB or 10MB");

/// Bits per second, from 1 kbit/s to 100 Gbit/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BitRate(u64);

impl BitRate {
    const UNITS: &Units = &[
        ("Tbit", 1_000_000_000_000),
        ("Gbit", 1_000_000_000),
        ("Mbit", 1_000_000),
        ("kbit", 1_000),
        ("bit", 1),
    ];
    const MIN: Self = Self(1_000);
    const MAX: Self = Self(100_000_000_000);

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for BitRate {
    type Error = Invalid;

    fn try_from(bits: u64) -> Result<Self, Invalid> {
        let rate = Self(bits);
        if (Self::MIN..=Self::MAX).contains(&rate) {
            Ok(rate)
        } else {
            let (min, max) = (Self::MIN, Self::MAX);
            Err(Invalid::new(format!("{rate} per second is no rate; give {min} to {max}")))
        }
    }
}

impl FromStr for BitRate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bits = parse(text, Self::UNITS).ok_or_else(|| {
            let text = shown(text);
            Invalid::new(format!("{text} is no bit rate; write it as 500kbit, 10Mbit or 1Gbit"))
        })?;
        bits.try_into()
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, Self::UNITS)
    }
}

super::serde_as_text!(BitRate, "bits per second, as 500kbit, 10Mbit or 1Gbit");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!("1.5MB".parse::<Bytes>().unwrap(), Bytes(1_500_000));
        assert_eq!("64 KiB".parse::<Bytes>().unwrap(), Bytes(65_536));
        assert_eq!("10mbit".parse::<BitRate>().unwrap().get(), 10_000_000);
        assert_eq!("1.5Mbit".parse::<BitRate>().unwrap().to_string(), "1500kbit");
        assert_eq!("250us".parse::<Wait>().unwrap().nanos(), 250_000);
        assert_eq!(Bytes(0).to_string(), "0B");
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        let long = format!("1.{}MB", "0".repeat(1000));
        for text in [
            "",
            "MB",
            ".",
            "1.",
            ".5MB",
            "1.2.3MB",
            "1.0001kB",
            "1e3",
            "-1",
            "+1",
            "1 parsec",
            "18446744073709551616",
            "18446744073709551615kB",
            &long,
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        for text in ["10", "999bit", "101Gbit", "fast", "1MB"] {
            assert!(text.parse::<BitRate>().is_err(), "{text}");
        }
        for text in ["3601s", "5", "-1s", ""] {
            assert!(text.parse::<Wait>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: u64, bits in 1_000u64..=100_000_000_000) {
            prop_assert_eq!(Bytes(bytes).to_string().parse::<Bytes>().unwrap(), Bytes(bytes));
            let rate = BitRate::try_from(bits).unwrap();
            prop_assert_eq!(rate.to_string().parse::<BitRate>().unwrap(), rate);
        }
    }
}
