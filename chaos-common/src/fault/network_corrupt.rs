//! `network corrupt`: bits of packets change on the way.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Percent, Share, Whole},
    wire::percent,
};

/// Bits of the target's packets change.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkCorrupt {
    /// Which of the matching packets.
    pub share: Share,
    /// How many bits, each at a place of its own choice.
    pub bits: Bits,
    /// Where.
    pub region: Region,
    /// Who notices.
    pub checksum: Checksum,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// How many bits change: 1 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(into = "u64")]
pub struct Bits(u64);

impl Bits {
    /// One.
    pub const ONE: Self = Self(1);
}

impl TryFrom<u64> for Bits {
    type Error = Invalid;

    fn try_from(bits: u64) -> Result<Self, Invalid> {
        if (1..=u64::from(abi::MAX_CORRUPT_BITS)).contains(&bits) {
            Ok(Self(bits))
        } else {
            let max = abi::MAX_CORRUPT_BITS;
            Err(Invalid::new(format!("{bits} bits cannot be; give 1 to {max}")))
        }
    }
}

impl From<Bits> for u64 {
    fn from(bits: Bits) -> Self {
        bits.0
    }
}

impl std::str::FromStr for Bits {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let number: u64 = text.parse().map_err(|_| {
            Invalid::new(format!("{} is no number of bits; give 1 to 16", shown(text)))
        })?;
        number.try_into()
    }
}

impl<'de> serde::Deserialize<'de> for Bits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let belongs = "a whole number from 1 to 16";
        deserializer.deserialize_u64(Whole { belongs, check: Self::try_from })
    }
}

/// Where a packet changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Region {
    /// Behind the header of TCP or UDP; a packet with nothing there is left alone.
    #[default]
    Payload,
    /// In the header of the transport.
    Headers,
}

impl Region {
    const fn word(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Headers => "headers",
        }
    }
}

impl std::str::FromStr for Region {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "payload" => Ok(Self::Payload),
            "headers" => Ok(Self::Headers),
            other => Err(Invalid::new(format!(
                "{} is no region of a packet; give payload or headers",
                shown(other)
            ))),
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Checksum {
    /// The receiver's network stack, which drops the packet.
    #[default]
    Broken,
    /// Nobody below the application.
    Fixed,
}

impl Checksum {
    const fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Fixed => "fixed",
        }
    }
}

impl std::str::FromStr for Checksum {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "broken" => Ok(Self::Broken),
            "fixed" => Ok(Self::Fixed),
            other => Err(Invalid::new(format!(
                "a checksum is not {}; give broken or fixed",
                shown(other)
            ))),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl NetworkCorrupt {
    /// What the kernel does with a packet.
    #[must_use]
    pub fn to_abi(&self) -> abi::Corrupt {
        let region = match self.region {
            Region::Payload => abi::Region::Payload,
            Region::Headers => abi::Region::Headers,
        };
        abi::Corrupt {
            bits: self.bits.0,
            region: region as u64,
            fixes_checksum: (self.checksum == Checksum::Fixed).into(),
        }
    }
}

impl fmt::Display for NetworkCorrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { share, bits, region, checksum, filter } = self;
        write!(f, "{share}")?;
        if *bits != Bits::ONE {
            write!(f, ", {} bits", bits.0)?;
        }
        write!(f, ", {region}, checksum {checksum}, {filter}")
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
    bits: Option<Bits>,
    #[serde(default)]
    region: Region,
    #[serde(default)]
    checksum: Checksum,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkCorrupt {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        Ok(Self {
            share: Share::new(raw.percent, raw.correlation)?,
            bits: raw.bits.unwrap_or(Bits::ONE),
            region: raw.region,
            checksum: raw.checksum,
            filter: raw.filter.checked().at("filter")?,
        })
    }
}

impl From<NetworkCorrupt> for Raw {
    fn from(corrupt: NetworkCorrupt) -> Self {
        let NetworkCorrupt { share, bits, region, checksum, filter } = corrupt;
        Self {
            percent: share.percent(),
            correlation: share.correlation(),
            bits: (bits != Bits::ONE).then_some(bits),
            region,
            checksum,
            filter,
        }
    }
}

impl TryFrom<v1::NetworkCorrupt> for NetworkCorrupt {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkCorrupt) -> Result<Self, Invalid> {
        let region = match v1::CorruptRegion::try_from(wire.region) {
            Ok(v1::CorruptRegion::Unspecified | v1::CorruptRegion::Payload) => Region::Payload,
            Ok(v1::CorruptRegion::Headers) => Region::Headers,
            Err(_) => {
                let problem = format!("{} is no region of a packet", wire.region);
                return Err(Invalid::new(problem).at("region"));
            }
        };
        let checksum = match v1::Checksum::try_from(wire.checksum) {
            Ok(v1::Checksum::Unspecified | v1::Checksum::Broken) => Checksum::Broken,
            Ok(v1::Checksum::Fixed) => Checksum::Fixed,
            Err(_) => {
                let problem = format!("{} is no way with checksums", wire.checksum);
                return Err(Invalid::new(problem).at("checksum"));
            }
        };
        Raw {
            percent: wire.percent.try_into().at("percent")?,
            correlation: percent(wire.correlation).at("correlation")?,
            bits: wire.bits.map(|bits| u64::from(bits).try_into()).transpose().at("bits")?,
            region,
            checksum,
            filter: wire.filter.unwrap_or_default().try_into().at("filter")?,
        }
        .try_into()
    }
}

impl From<&NetworkCorrupt> for v1::NetworkCorrupt {
    fn from(corrupt: &NetworkCorrupt) -> Self {
        Self {
            percent: corrupt.share.percent().get(),
            correlation: corrupt.share.correlation().map(Percent::get),
            bits: Some(corrupt.bits.0 as u32),
            region: match corrupt.region {
                Region::Payload => v1::CorruptRegion::Payload,
                Region::Headers => v1::CorruptRegion::Headers,
            }
            .into(),
            checksum: match corrupt.checksum {
                Checksum::Broken => v1::Checksum::Broken,
                Checksum::Fixed => v1::Checksum::Fixed,
            }
            .into(),
            filter: Some((&corrupt.filter).into()),
        }
    }
}
