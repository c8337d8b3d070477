//! The class of service of a packet.

use std::{fmt, str::FromStr};

use crate::{
    invalid::{Invalid, shown},
    value::ranges::{Range, Ranges},
};

/// A differentiated services code point, 0 to 63 (RFC 2474).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dscp(u8);

/// Names of RFC 2474, 2597, 3246 and 8622.
const NAMES: [(&str, u8); 22] = [
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("ef", 46),
    ("le", 1),
];

impl Dscp {
    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u64> for Dscp {
    type Error = Invalid;

    fn try_from(number: u64) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(number @ 0..64) => Ok(Self(number)),
            Ok(_) | Err(_) => Err(no_dscp(&number.to_string())),
        }
    }
}

impl FromStr for Dscp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            return Ok(Self(*number));
        }
        text.parse::<u64>()
            .ok()
            .and_then(|number| number.try_into().ok())
            .ok_or_else(|| no_dscp(text))
    }
}

fn no_dscp(text: &str) -> Invalid {
    Invalid::new(format!("{} is no DSCP; give 0 to 63, or a name as ef, cs1 or af21", shown(text)))
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl serde::Serialize for Dscp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Dscp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Dscp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a DSCP from 0 to 63, or a name as ef, cs1 or af21")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Dscp, E> {
                number.try_into().map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Dscp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// Several of them, each there once; none is no condition.
pub type Dscps = Ranges<Dscp>;

impl Range for Dscp {
    fn checked(mut ranges: Vec<Self>) -> Result<Vec<Self>, Invalid> {
        let mut seen = std::collections::HashSet::new();
        ranges.retain(|dscp| seen.insert(*dscp));
        Ok(ranges)
    }
}

impl Dscps {
    /// A bit for each.
    #[must_use]
    pub fn to_abi(&self) -> u64 {
        self.iter().fold(0, |bits, dscp| bits | 1 << dscp.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers() {
        assert_eq!("EF".parse::<Dscp>().unwrap().get(), 46);
        assert_eq!("46".parse::<Dscp>().unwrap().to_string(), "ef");
        assert_eq!("63".parse::<Dscp>().unwrap().to_string(), "63");
        for text in ["64", "-1", "", "be\0"] {
            assert!(text.parse::<Dscp>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_is_a_bit() {
        let both = Dscps::try_from(vec![Dscp(0), Dscp(63), Dscp(0)]).unwrap();
        assert_eq!((both.len(), both.to_abi()), (2, 1 | 1 << 63));
    }
}
