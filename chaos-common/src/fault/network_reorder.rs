//! `network reorder`: some packets are held, and those behind overtake them.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi::{self, Dice},
    invalid::{At, Invalid},
    proto::v1,
    value::{Every, Percent, Share, Wait},
    wire::{from_duration, from_wait, percent},
};

/// Some packets of the target are held, and those behind overtake them.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkReorder {
    /// Which of the matching packets are held.
    pub model: ReorderModel,
    /// How long they are held.
    pub time: Wait,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// Which of the matching packets are held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReorderModel {
    /// With this chance.
    Share(Share),
    /// The last of each so many.
    Every(Every),
}

impl ReorderModel {
    /// The dice that the kernel rolls for this model.
    #[must_use]
    pub fn dice(self, seed: u64) -> Dice {
        match self {
            Self::Share(share) => share.dice(seed),
            Self::Every(every) => Dice::every(seed, every.get()),
        }
    }
}

impl NetworkReorder {
    /// What the kernel does with a packet.
    #[must_use]
    pub fn hold(&self) -> abi::Hold {
        abi::Hold { latency_ns: self.time.nanos(), ..abi::Hold::default() }
    }
}

impl fmt::Display for NetworkReorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            ReorderModel::Share(share) => share.fmt(f)?,
            ReorderModel::Every(every) => every.fmt(f)?,
        }
        write!(f, " by {}, {}", self.time, self.filter)
    }
}

/// As it is written: exactly one of `percent` and `every`.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    time: Wait,
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<Raw> for NetworkReorder {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let model = match (raw.percent, raw.every) {
            (Some(percent), None) => ReorderModel::Share(Share::new(percent, raw.correlation)?),
            (None, Some(_)) if raw.correlation.is_some() => {
                return Err(Invalid::new("belongs to `percent` only").at("correlation"));
            }
            (None, Some(every)) => ReorderModel::Every(every),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Invalid::new("give either `percent` or `every`"));
            }
        };
        let time = raw.time.above_zero().at("time")?;
        Ok(Self { model, time, filter: raw.filter.checked().at("filter")? })
    }
}

impl From<NetworkReorder> for Raw {
    fn from(reorder: NetworkReorder) -> Self {
        let NetworkReorder { model, time, filter } = reorder;
        let none = Self { percent: None, correlation: None, every: None, time, filter };
        match model {
            ReorderModel::Share(share) => {
                Self { percent: Some(share.percent()), correlation: share.correlation(), ..none }
            }
            ReorderModel::Every(every) => Self { every: Some(every), ..none },
        }
    }
}

impl TryFrom<v1::NetworkReorder> for NetworkReorder {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkReorder) -> Result<Self, Invalid> {
        use v1::network_reorder::Model;
        let (share, every) = match wire.model {
            Some(Model::Percent(percent)) => (Some(percent.try_into().at("percent")?), None),
            Some(Model::Every(every)) => (None, Some(every.try_into().at("every")?)),
            None => (None, None),
        };
        Raw {
            percent: share,
            correlation: percent(wire.correlation).at("correlation")?,
            every,
            time: from_duration(wire.time.unwrap_or_default()).at("time")?,
            filter: wire.filter.unwrap_or_default().try_into().at("filter")?,
        }
        .try_into()
    }
}

impl From<&NetworkReorder> for v1::NetworkReorder {
    fn from(reorder: &NetworkReorder) -> Self {
        use v1::network_reorder::Model;
        let (model, correlation) = match reorder.model {
            ReorderModel::Share(share) => {
                (Model::Percent(share.percent().get()), share.correlation().map(Percent::get))
            }
            ReorderModel::Every(every) => (Model::Every(every.get()), None),
        };
        Self {
            model: Some(model),
            correlation,
            time: Some(from_wait(reorder.time)),
            filter: Some((&reorder.filter).into()),
        }
    }
}
