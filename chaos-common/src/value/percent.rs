//! A share of events.

use std::{fmt, str::FromStr};

use crate::{
    abi::Chance,
    invalid::{Invalid, shown},
};

/// A percentage from 0 to 100, as fine as one in 2³².
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// Nothing.
    pub const ZERO: Self = Self(0.0);
    /// Everything.
    pub const ALL: Self = Self(100.0);

    /// The number, 0 to 100.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The same as the kernel counts it. What is not zero does not become zero.
    #[must_use]
    pub fn chance(self) -> Chance {
        let share = (self.0 / 100.0 * Chance::ALWAYS.share() as f64).round() as u64;
        Chance::of_2_32(if self.0 > 0.0 { share.max(1) } else { 0 })
    }

    /// The percentage, if it is more than nothing.
    ///
    /// # Errors
    /// When it is zero: such a fault would do nothing.
    pub fn above_zero(self) -> Result<Self, Invalid> {
        if self.0 > 0.0 {
            Ok(self)
        } else {
            Err(Invalid::new("0 % would do nothing; give more than 0 and at most 100"))
        }
    }
}

impl TryFrom<f64> for Percent {
    type Error = Invalid;

    fn try_from(number: f64) -> Result<Self, Invalid> {
        if (0.0..=100.0).contains(&number) {
            // -0.0 becomes 0.0.
            Ok(Self(number.abs()))
        } else {
            Err(Invalid::new(format!("{number} is no percentage; give a number from 0 to 100")))
        }
    }
}

impl FromStr for Percent {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_suffix('%').unwrap_or(text).trim_end();
        let number: f64 = digits.parse().map_err(|_| {
            Invalid::new(format!("{} is no percentage; give a number from 0 to 100", shown(text)))
        })?;
        number.try_into()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

impl serde::Serialize for Percent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl serde::de::Visitor<'_> for Number {
            type Value = Percent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 100, as 30 or 0.5")
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Percent, E> {
                number.try_into().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Percent, E> {
                self.visit_f64(number as f64)
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Percent, E> {
                self.visit_f64(number as f64)
            }
        }

        deserializer.deserialize_f64(Number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_share() {
        for text in ["100.1", "-1", "NaN", "inf", "", "thirty", "30 percent", "3\u{0660}"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        assert!(Percent::ZERO.above_zero().is_err());
    }

    #[test]
    fn the_ends_are_exact() {
        assert_eq!(Percent::ZERO.chance(), Chance::NEVER);
        assert_eq!(Percent::ALL.chance(), Chance::ALWAYS);
        assert_eq!("50%".parse::<Percent>().unwrap().chance(), Chance::of_2_32(1 << 31));
        assert_eq!("1e-300".parse::<Percent>().unwrap().chance(), Chance::of_2_32(1));
    }

    proptest! {
        #[test]
        fn never_panics(text: String, number: f64) {
            let _ = text.parse::<Percent>();
            let _ = Percent::try_from(number);
        }
    }
}
