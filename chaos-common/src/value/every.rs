//! Every n-th packet.

use std::fmt;

use crate::{
    invalid::{Invalid, shown},
    value::Whole,
};

/// The last of each so many packets: at least 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(into = "u64")]
pub struct Every(u64);

impl Every {
    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Every {
    type Error = Invalid;

    fn try_from(every: u64) -> Result<Self, Invalid> {
        match every {
            0 | 1 => Err(Invalid::new(format!(
                "one in {every} is all of them or none; give at least 2, or a percentage"
            ))),
            _ => Ok(Self(every)),
        }
    }
}

impl From<Every> for u64 {
    fn from(every: Every) -> Self {
        every.0
    }
}

impl std::str::FromStr for Every {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number: u64 = text.parse().map_err(|_| {
            let text = shown(text);
            Invalid::new(format!("{text} is no number of packets; give a whole number from 2 on"))
        })?;
        number.try_into()
    }
}

impl<'de> serde::Deserialize<'de> for Every {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let belongs = "a whole number from 2 on";
        deserializer.deserialize_u64(Whole { belongs, check: Self::try_from })
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one in {}", self.0)
    }
}
