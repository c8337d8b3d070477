//! `network duplicate`: packets arrive several times.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Percent, Share, Whole},
    wire::percent,
};

/// Packets of the target come several times.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkDuplicate {
    /// Which of the matching packets.
    pub share: Share,
    /// How many come besides the packet itself.
    pub copies: Copies,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// How many come besides the packet itself: 1 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(into = "u64")]
pub struct Copies(u64);

impl Copies {
    /// One.
    pub const ONE: Self = Self(1);

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Copies {
    type Error = Invalid;

    fn try_from(copies: u64) -> Result<Self, Invalid> {
        if (1..=u64::from(abi::MAX_COPIES)).contains(&copies) {
            Ok(Self(copies))
        } else {
            let max = abi::MAX_COPIES;
            Err(Invalid::new(format!("{copies} copies cannot be; give 1 to {max}")))
        }
    }
}

impl From<Copies> for u64 {
    fn from(copies: Copies) -> Self {
        copies.0
    }
}

impl std::str::FromStr for Copies {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number: u64 = text.parse().map_err(|_| {
            Invalid::new(format!("{} is no number of copies; give 1 to 8", shown(text)))
        })?;
        number.try_into()
    }
}

impl<'de> serde::Deserialize<'de> for Copies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let belongs = "a whole number from 1 to 8";
        deserializer.deserialize_u64(Whole { belongs, check: Self::try_from })
    }
}

impl fmt::Display for NetworkDuplicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.share.fmt(f)?;
        if self.copies != Copies::ONE {
            write!(f, ", {} copies", self.copies.0)?;
        }
        write!(f, ", {}", self.filter)
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    percent: Percent,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    copies: Option<Copies>,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkDuplicate {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        Ok(Self {
            share: Share::new(raw.percent, raw.correlation)?,
            copies: raw.copies.unwrap_or(Copies::ONE),
            filter: raw.filter.checked().at("filter")?,
        })
    }
}

impl From<NetworkDuplicate> for Raw {
    fn from(duplicate: NetworkDuplicate) -> Self {
        let NetworkDuplicate { share, copies, filter } = duplicate;
        Self {
            percent: share.percent(),
            correlation: share.correlation(),
            copies: (copies != Copies::ONE).then_some(copies),
            filter,
        }
    }
}

impl TryFrom<v1::NetworkDuplicate> for NetworkDuplicate {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkDuplicate) -> Result<Self, Invalid> {
        Raw {
            percent: wire.percent.try_into().at("percent")?,
            correlation: percent(wire.correlation).at("correlation")?,
            copies: wire
                .copies
                .map(|copies| u64::from(copies).try_into())
                .transpose()
                .at("copies")?,
            filter: wire.filter.unwrap_or_default().try_into().at("filter")?,
        }
        .try_into()
    }
}

impl From<&NetworkDuplicate> for v1::NetworkDuplicate {
    fn from(duplicate: &NetworkDuplicate) -> Self {
        Self {
            percent: duplicate.share.percent().get(),
            correlation: duplicate.share.correlation().map(Percent::get),
            copies: Some(duplicate.copies.0 as u32),
            filter: Some((&duplicate.filter).into()),
        }
    }
}
