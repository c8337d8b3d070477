//! `network loss`: packets vanish as on a wire, and nobody is told.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi::Dice,
    invalid::{At, Invalid},
    proto::v1,
    value::Percent,
};

/// Packets of the target vanish.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkLoss {
    /// Which of the matching packets.
    pub model: LossModel,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// Which of the matching packets vanish.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossModel {
    /// Each packet alone, with this chance.
    Percent(Percent),
    /// In bursts.
    Burst(Burst),
}

/// The Gilbert–Elliott model: packets meet either a good or a bad time.
///
/// The mean length of a bad time is 100 / `leave` packets; its share of all packets is
/// `enter` / (`enter` + `leave`).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Burst {
    /// Chance at each packet that a bad time begins (netem calls it p).
    pub enter: Percent,
    /// Chance at each packet that it ends (r).
    pub leave: Percent,
    /// Loss in a bad time (1−h).
    #[serde(default = "all")]
    pub inside: Percent,
    /// Loss in a good time (1−k).
    #[serde(default = "none")]
    pub outside: Percent,
}

fn all() -> Percent {
    Percent::ALL
}

fn none() -> Percent {
    Percent::ZERO
}

impl Burst {
    /// Refuses a model that would never lose anything or never stop to.
    ///
    /// # Errors
    /// When `enter`, `leave` or `inside` is 0.
    pub fn checked(self) -> Result<Self, Invalid> {
        self.enter.above_zero().at("enter")?;
        self.leave.above_zero().at("leave")?;
        self.inside.above_zero().at("inside")?;
        Ok(self)
    }
}

impl LossModel {
    /// The dice that the kernel rolls for this model.
    #[must_use]
    pub fn dice(self, seed: u64) -> Dice {
        match self {
            Self::Percent(percent) => Dice::percent(seed, percent.chance()),
            Self::Burst(burst) => Dice {
                seed,
                to_bad: burst.enter.chance(),
                to_good: burst.leave.chance(),
                fire_good: burst.outside.chance(),
                fire_bad: burst.inside.chance(),
            },
        }
    }
}

impl fmt::Display for NetworkLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            LossModel::Percent(percent) => write!(f, "{percent}")?,
            LossModel::Burst(Burst { enter, leave, inside, outside }) => {
                write!(
                    f,
                    "in bursts (enter {enter}, leave {leave}, inside {inside}, outside {outside})"
                )?;
            }
        }
        write!(f, ", {}", self.filter)
    }
}

/// As it is written: exactly one of `percent` and `burst`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<Burst>,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkLoss {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let model = match (raw.percent, raw.burst) {
            (Some(percent), None) => LossModel::Percent(percent.above_zero().at("percent")?),
            (None, Some(burst)) => LossModel::Burst(burst.checked().at("burst")?),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Invalid::new("give either `percent` or `burst`"));
            }
        };
        Ok(Self { model, filter: raw.filter.checked().at("filter")? })
    }
}

impl From<NetworkLoss> for Raw {
    fn from(loss: NetworkLoss) -> Self {
        let (percent, burst) = match loss.model {
            LossModel::Percent(percent) => (Some(percent), None),
            LossModel::Burst(burst) => (None, Some(burst)),
        };
        Self { percent, burst, filter: loss.filter }
    }
}

impl TryFrom<v1::NetworkLoss> for NetworkLoss {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkLoss) -> Result<Self, Invalid> {
        let (percent, burst) = match wire.model {
            Some(v1::network_loss::Model::Percent(percent)) => {
                (Some(percent.try_into().at("percent")?), None)
            }
            Some(v1::network_loss::Model::Burst(burst)) => {
                (None, Some(burst.try_into().at("burst")?))
            }
            None => (None, None),
        };
        let filter = wire.filter.unwrap_or_default().try_into().at("filter")?;
        Raw { percent, burst, filter }.try_into()
    }
}

impl TryFrom<v1::Burst> for Burst {
    type Error = Invalid;

    fn try_from(wire: v1::Burst) -> Result<Self, Invalid> {
        let or = |number: Option<f64>, default| number.map_or(Ok(default), Percent::try_from);
        Ok(Self {
            enter: wire.enter.try_into().at("enter")?,
            leave: wire.leave.try_into().at("leave")?,
            inside: or(wire.inside, Percent::ALL).at("inside")?,
            outside: or(wire.outside, Percent::ZERO).at("outside")?,
        })
    }
}

impl From<&NetworkLoss> for v1::NetworkLoss {
    fn from(loss: &NetworkLoss) -> Self {
        let model = match loss.model {
            LossModel::Percent(percent) => v1::network_loss::Model::Percent(percent.get()),
            LossModel::Burst(burst) => v1::network_loss::Model::Burst(v1::Burst {
                enter: burst.enter.get(),
                leave: burst.leave.get(),
                inside: Some(burst.inside.get()),
                outside: Some(burst.outside.get()),
            }),
        };
        Self { model: Some(model), filter: Some((&loss.filter).into()) }
    }
}
