//! `network delay`: packets arrive later.

use std::fmt;

use super::NetworkFilter;
use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Percent, Wait},
    wire::{from_duration, from_wait, percent},
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

/// How the delays of packets are distributed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Distribution {
    /// Evenly from −1 to 1.
    #[default]
    Uniform,
    /// Normal.
    Normal,
    /// Pareto of index 3.
    Pareto,
    /// A quarter normal, three quarters Pareto.
    ParetoNormal,
    /// As it was measured.
    Table(Table),
}

/// Values that are equally likely, as factors of the jitter.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Table(Vec<f64>);

impl Table {
    /// As many as a file of netem's may have, and more.
    const MAX: usize = 65_536;
    /// The farthest that a value may be from the mean, in jitters.
    const FARTHEST: f64 = 16.0;

    /// The values in ascending order.
    fn values(&self) -> &[f64] {
        &self.0
    }
}

impl TryFrom<Vec<f64>> for Table {
    type Error = Invalid;

    fn try_from(mut values: Vec<f64>) -> Result<Self, Invalid> {
        if !(2..=Self::MAX).contains(&values.len()) {
            let (count, max) = (values.len(), Self::MAX);
            return Err(Invalid::new(format!("{count} values are no table; give 2 to {max}")));
        }
        let far = |value: &&f64| !(-Self::FARTHEST..=Self::FARTHEST).contains(*value);
        if let Some(value) = values.iter().find(far) {
            let most = Self::FARTHEST;
            return Err(Invalid::new(format!("{value} is too far out; give -{most} to {most}")));
        }
        values.sort_by(f64::total_cmp);
        Ok(Self(values))
    }
}

impl From<Table> for Vec<f64> {
    fn from(table: Table) -> Self {
        table.0
    }
}

/// netem's format, as in iproute2's `/usr/lib/tc/*.dist`: whole numbers of which 8192 are one jitter, and lines
/// of comments that begin with `#`.
impl std::str::FromStr for Table {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let number = |word: &str| {
            let number = word.parse::<i32>().map(|number| f64::from(number) / 8192.0);
            number.map_err(|_| Invalid::new(format!("{} is no whole number", shown(word))))
        };
        let values: Result<Vec<f64>, Invalid> =
            lines.flat_map(str::split_whitespace).map(number).collect();
        values?.try_into()
    }
}

impl Distribution {
    /// The name, but of a table.
    const fn word(&self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Normal => "normal",
            Self::Pareto => "pareto",
            Self::ParetoNormal => "paretoNormal",
            Self::Table(_) => "table",
        }
    }

    /// The same as the kernel reads it; evenly needs no table.
    #[must_use]
    pub fn shape(&self) -> Option<Box<abi::Shape>> {
        let quantile: &dyn Fn(f64) -> f64 = match self {
            Self::Uniform => return None,
            Self::Normal => &normal,
            Self::Pareto => &pareto,
            Self::ParetoNormal => &|p| 0.25 * normal(p) + 0.75 * pareto(p),
            Self::Table(table) => &|p| {
                let values = table.values();
                let place = (p * values.len() as f64) as usize;
                values[place.min(values.len() - 1)]
            },
        };
        // The ends of a distribution may be nowhere: half a part is cut.
        let (parts, half) = (abi::SHAPE_PARTS as f64, 0.5 / abi::SHAPE_PARTS as f64);
        let share = |n: usize| (n as f64 / parts).clamp(half, 1.0 - half);
        let point = |n: usize| quantile(share(n)) * abi::SHAPE_ONE as f64;
        Some(Box::new(abi::Shape { points: std::array::from_fn(|n| point(n).round() as i32) }))
    }
}

/// The quantile function of the normal distribution.
fn normal(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF as _, Normal};
    Normal::standard().inverse_cdf(p)
}

/// That of the Pareto distribution of index 3, moved and scaled to a mean of 0 and a standard deviation of 1.
fn pareto(p: f64) -> f64 {
    const INDEX: f64 = 3.0;
    let mean = INDEX / (INDEX - 1.0);
    let deviation = (INDEX / ((INDEX - 1.0).powi(2) * (INDEX - 2.0))).sqrt();
    ((1.0 - p).powf(-1.0 / INDEX) - mean) / deviation
}

impl std::str::FromStr for Distribution {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = [Self::Uniform, Self::Normal, Self::Pareto, Self::ParetoNormal];
        known.into_iter().find(|known| known.word().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let text = shown(text);
            Invalid::new(format!(
                "{text} is no distribution; give uniform, normal, pareto or paretoNormal"
            ))
        })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Table(table) = self {
            write!(f, "table of {} values", table.0.len())
        } else {
            f.write_str(self.word())
        }
    }
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
            Some(Distribution::Table(table)) => (v1::Distribution::Unspecified, table.0.clone()),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(distribution: &Distribution) -> (f64, f64) {
        let shape = distribution.shape().unwrap();
        let n = 1 << 16;
        let one = abi::SHAPE_ONE as f64;
        let values: Vec<f64> =
            (0..n).map(|i| shape.value((i << 16) | 0x8000) as f64 / one).collect();
        let mean = values.iter().sum::<f64>() / f64::from(n);
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(n);
        (mean, variance.sqrt())
    }

    #[test]
    fn distributions_have_no_mean_of_their_own_and_about_one_deviation() {
        for distribution in [Distribution::Normal, Distribution::Pareto] {
            let (mean, deviation) = moments(&distribution);
            // The far tail, one in a thousand, is cut; Pareto's matters most.
            assert!(mean.abs() < 0.02, "{distribution}: mean {mean}");
            assert!((0.8..1.05).contains(&deviation), "{distribution}: deviation {deviation}");
        }
    }

    #[test]
    fn a_measured_table_is_followed() {
        let table: Table = "# measured\n-8192 -8192\n0 8192\n".parse().unwrap();
        assert_eq!(table.values(), [-1.0, -1.0, 0.0, 1.0]);
        let shape = Distribution::Table(table).shape().unwrap();
        let one = abi::SHAPE_ONE;
        assert_eq!(shape.value(0), -one);
        assert_eq!(shape.value(u32::MAX / 8 * 5), 0);
        assert_eq!(shape.value(u32::MAX), one);
        for text in ["", "1", "a b", "999999999 1"] {
            assert!(text.parse::<Table>().is_err(), "{text}");
        }
    }

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
