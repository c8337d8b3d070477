//! `network delay`: packets arrive later.

mod distribution;
mod wire;

pub use distribution::{Distribution, Table};

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi,
    invalid::{At, Invalid},
    value::{Percent, Wait},
};

/// Packets of the target are held and go on their way later.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkDelay {
    /// The mean.
    pub latency: Wait,
    /// How far it strays.
    pub jitter: Option<Jitter>,
    /// Packets of one connection may overtake each other.
    pub reorder: bool,
    /// Which of the matching packets.
    pub percent: Percent,
    /// Which packets match.
    pub filter: NetworkFilter,
}

/// How far a delay strays from its mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Jitter {
    /// What a value of the distribution is multiplied with.
    pub size: Wait,
    /// How the values are distributed.
    pub distribution: Distribution,
    /// The chance that a packet is held as long as the one before.
    pub correlation: Percent,
}

impl NetworkDelay {
    /// What the kernel does with a packet.
    #[must_use]
    pub fn hold(&self) -> abi::Hold {
        let jitter = self.jitter.as_ref();
        abi::Hold {
            latency_ns: self.latency.nanos(),
            jitter_ns: jitter.map_or(0, |jitter| jitter.size.nanos()),
            repeat: jitter.map_or(abi::Chance::NEVER, |jitter| jitter.correlation.chance()),
            has_shape: jitter
                .is_some_and(|jitter| jitter.distribution != Distribution::Uniform)
                .into(),
            keeps_order: (!self.reorder).into(),
        }
    }
}

impl fmt::Display for NetworkDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.latency.fmt(f)?;
        if let Some(Jitter { size, distribution, correlation }) = &self.jitter {
            write!(f, " ± {size} {distribution}")?;
            if *correlation > Percent::ZERO {
                write!(f, " (correlation {correlation})")?;
            }
        }
        if self.percent != Percent::ALL {
            write!(f, " for {}", self.percent)?;
        }
        if self.reorder {
            f.write_str(", in any order")?;
        }
        write!(f, ", {}", self.filter)
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    latency: Wait,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jitter: Option<Wait>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    distribution: Option<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<Table>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<Percent>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reorder: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default)]
    filter: NetworkFilter,
}

/// A distribution by its name.
#[derive(Clone)]
struct Named(Distribution);

impl std::str::FromStr for Named {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

crate::value::serde_as_text!(Named, "uniform, normal, pareto or paretoNormal");

/// What a delay is made of before it is checked as a whole.
#[derive(Clone, Debug)]
pub struct DelayParts {
    /// See [`NetworkDelay`].
    pub latency: Wait,
    /// See [`Jitter`].
    pub jitter: Option<Wait>,
    /// See [`Jitter`].
    pub distribution: Option<Distribution>,
    /// See [`Jitter`].
    pub correlation: Option<Percent>,
    /// See [`NetworkDelay`].
    pub reorder: bool,
    /// See [`NetworkDelay`].
    pub percent: Option<Percent>,
    /// See [`NetworkDelay`]; checked.
    pub filter: NetworkFilter,
}

fn without_jitter(field: &str) -> Invalid {
    Invalid::new("is about the jitter, and there is none; give a jitter, or leave it out").at(field)
}

impl TryFrom<DelayParts> for NetworkDelay {
    type Error = Invalid;

    fn try_from(parts: DelayParts) -> Result<Self, Invalid> {
        let DelayParts { latency, jitter, distribution, correlation, reorder, percent, filter } =
            parts;
        let jitter = match jitter.filter(|jitter| *jitter > Wait::NONE) {
            Some(size) => Some(Jitter {
                size,
                distribution: distribution.unwrap_or_default(),
                correlation: correlation.unwrap_or(Percent::ZERO),
            }),
            None if distribution.is_some() => return Err(without_jitter("distribution")),
            None if correlation.is_some() => return Err(without_jitter("correlation")),
            None => None,
        };
        if jitter.is_none() {
            latency.above_zero().at("latency")?;
        }
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        Ok(Self { latency, jitter, reorder, percent, filter })
    }
}

impl TryFrom<Raw> for NetworkDelay {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let distribution = match (raw.distribution, raw.table) {
            (Some(_), Some(_)) => {
                return Err(Invalid::new("give either `distribution` or `table`"));
            }
            (Some(Named(distribution)), None) => Some(distribution),
            (None, table) => table.map(Distribution::Table),
        };
        DelayParts {
            latency: raw.latency,
            jitter: raw.jitter,
            distribution,
            correlation: raw.correlation,
            reorder: raw.reorder,
            percent: raw.percent,
            filter: raw.filter.checked().at("filter")?,
        }
        .try_into()
    }
}

impl From<NetworkDelay> for Raw {
    fn from(delay: NetworkDelay) -> Self {
        let NetworkDelay { latency, jitter, reorder, percent, filter } = delay;
        let percent = (percent != Percent::ALL).then_some(percent);
        let (distribution, table) = match jitter.as_ref().map(|jitter| &jitter.distribution) {
            None | Some(Distribution::Uniform) => (None, None),
            Some(Distribution::Table(table)) => (None, Some(table.clone())),
            Some(named) => (Some(Named(named.clone())), None),
        };
        let correlation = jitter.as_ref().map(|jitter| jitter.correlation);
        Self {
            latency,
            jitter: jitter.map(|jitter| jitter.size),
            distribution,
            table,
            correlation: correlation.filter(|correlation| *correlation > Percent::ZERO),
            reorder,
            percent,
            filter,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_do_nothing_is_refused() {
        let parts = DelayParts {
            latency: Wait::NONE,
            jitter: None,
            distribution: None,
            correlation: None,
            reorder: false,
            percent: None,
            filter: NetworkFilter::default(),
        };
        assert!(NetworkDelay::try_from(parts.clone()).is_err());
        let normal = DelayParts { distribution: Some(Distribution::Normal), ..parts.clone() };
        assert!(NetworkDelay::try_from(normal).is_err());
        let jitter: Wait = "5ms".parse().unwrap();
        assert!(NetworkDelay::try_from(DelayParts { jitter: Some(jitter), ..parts }).is_ok());
    }
}
