//! A delay as a message.

use super::{DelayParts, Distribution, NetworkDelay, NetworkFilter};
use crate::{
    invalid::{At, Invalid},
    proto::v1,
    wire::{from_duration, from_wait, percent},
};

impl TryFrom<v1::NetworkDelay> for NetworkDelay {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkDelay) -> Result<Self, Invalid> {
        let named = match v1::Distribution::try_from(wire.distribution) {
            Ok(v1::Distribution::Unspecified) => None,
            Ok(v1::Distribution::Uniform) => Some(Distribution::Uniform),
            Ok(v1::Distribution::Normal) => Some(Distribution::Normal),
            Ok(v1::Distribution::Pareto) => Some(Distribution::Pareto),
            Ok(v1::Distribution::ParetoNormal) => Some(Distribution::ParetoNormal),
            Err(_) => {
                let problem = format!("{} is no distribution", wire.distribution);
                return Err(Invalid::new(problem).at("distribution"));
            }
        };
        let distribution = match (named, wire.table.is_empty()) {
            (named, true) => named,
            (None, false) => Some(Distribution::Table(wire.table.try_into().at("table")?)),
            (Some(_), false) => {
                return Err(Invalid::new("give either `distribution` or `table`"));
            }
        };
        DelayParts {
            latency: from_duration(wire.latency.unwrap_or_default()).at("latency")?,
            jitter: wire.jitter.map(from_duration).transpose().at("jitter")?,
            distribution,
            correlation: percent(wire.correlation).at("correlation")?,
            reorder: wire.reorder,
            percent: percent(wire.percent).at("percent")?,
            filter: NetworkFilter::try_from(wire.filter.unwrap_or_default())
                .and_then(NetworkFilter::checked)
                .at("filter")?,
        }
        .try_into()
    }
}

impl From<&NetworkDelay> for v1::NetworkDelay {
    fn from(delay: &NetworkDelay) -> Self {
        let jitter = delay.jitter.as_ref();
        let (distribution, table) = match jitter.map(|jitter| &jitter.distribution) {
            None => (v1::Distribution::Unspecified, Vec::new()),
            Some(Distribution::Uniform) => (v1::Distribution::Uniform, Vec::new()),
            Some(Distribution::Normal) => (v1::Distribution::Normal, Vec::new()),
            Some(Distribution::Pareto) => (v1::Distribution::Pareto, Vec::new()),
            Some(Distribution::ParetoNormal) => (v1::Distribution::ParetoNormal, Vec::new()),
            Some(Distribution::Table(table)) => {
                (v1::Distribution::Unspecified, table.clone().into())
            }
        };
        Self {
            latency: Some(from_wait(delay.latency)),
            jitter: jitter.map(|jitter| from_wait(jitter.size)),
            distribution: distribution.into(),
            table,
            correlation: jitter.map(|jitter| jitter.correlation.get()),
            reorder: delay.reorder,
            percent: Some(delay.percent.get()),
            filter: Some((&delay.filter).into()),
        }
    }
}
