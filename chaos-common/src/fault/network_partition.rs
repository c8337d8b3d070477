//! `network partition`: nothing passes between the target and others.

use std::fmt;

use super::{Direction, NetworkFilter};
use crate::{
    invalid::{At, Invalid},
    proto::v1,
};

/// Nothing passes between the target and others.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkPartition {
    /// Which others; the direction is both, if none is said.
    pub filter: NetworkFilter,
}

impl fmt::Display for NetworkPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.filter.fmt(f)
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    filter: NetworkFilter,
}

impl TryFrom<NetworkFilter> for NetworkPartition {
    type Error = Invalid;

    fn try_from(mut filter: NetworkFilter) -> Result<Self, Invalid> {
        filter.direction.get_or_insert(Direction::Both);
        Ok(Self { filter: filter.checked().at("filter")? })
    }
}

impl TryFrom<Raw> for NetworkPartition {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        raw.filter.try_into()
    }
}

impl From<NetworkPartition> for Raw {
    fn from(partition: NetworkPartition) -> Self {
        Self { filter: partition.filter }
    }
}

impl TryFrom<v1::NetworkPartition> for NetworkPartition {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkPartition) -> Result<Self, Invalid> {
        NetworkFilter::try_from(wire.filter.unwrap_or_default()).at("filter")?.try_into()
    }
}

impl From<&NetworkPartition> for v1::NetworkPartition {
    fn from(partition: &NetworkPartition) -> Self {
        Self { filter: Some((&partition.filter).into()) }
    }
}
