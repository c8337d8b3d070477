//! How the delays of packets are distributed: by a name, or as somebody measured it.

use std::fmt;

use crate::{
    abi,
    invalid::{Invalid, shown},
};

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
}
