//! One figure, as the table, the JSON and the page show it.

use std::{borrow::Cow, fmt::Write as _};

use serde::{Deserialize, Serialize};

use crate::machine;

/// What was measured, against what, and whether it is good enough.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Whose and of what.
    pub(crate) name: String,
    /// Absent when it could not be measured; `baseline` then says why.
    pub(crate) value: Option<f64>,
    /// `×` for a ratio to the baseline.
    pub(crate) unit: Cow<'static, str>,
    /// What the value is held against, with its own figure where it has one.
    pub(crate) baseline: String,
    /// What the value has to be.
    pub(crate) goal: Option<Goal>,
    /// Whether it is that; absent without a goal or a value.
    pub(crate) met: Option<bool>,
    /// Release of the kernel it was measured on.
    pub(crate) kernel: String,
    /// Where a plot shows it; most rows are in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) point: Option<Point>,
}

/// A place in a plot, whose height is the row's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    /// Which of the plot's panels.
    pub(crate) panel: String,
    /// Which of the panel's curves.
    pub(crate) curve: String,
    pub(crate) at: f64,
}

/// What a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Goal {
    /// So much or less.
    AtMost(f64),
    /// So much or more.
    AtLeast(f64),
    /// Neither less than the first nor more than the second.
    Within(f64, f64),
    /// So far from one, or nearer.
    NearOne(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Within(least, most) => (least..=most).contains(&value),
            Self::NearOne(far) => (value - 1.0).abs() <= far,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::AtMost(most) => write!(f, "≤ {}", rounded(most)),
            Self::AtLeast(least) => write!(f, "≥ {}", rounded(least)),
            Self::Within(least, most) => write!(f, "{} to {}", rounded(least), rounded(most)),
            Self::NearOne(far) => write!(f, "1 ± {far}"),
        }
    }
}

impl Row {
    /// A value that stands for itself.
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value: Some(rounded(value)),
            unit: unit.into(),
            baseline: String::new(),
            goal: None,
            met: None,
            kernel: machine::kernel(),
            point: None,
        }
    }

    /// A ratio.
    pub(crate) fn ratio(name: impl Into<String>, ratio: f64, baseline: impl Into<String>) -> Self {
        Self::new(name, ratio, "×").against(baseline)
    }

    /// A figure that cannot be had here.
    pub(crate) fn not_measured(name: impl Into<String>, unit: &'static str, why: &str) -> Self {
        let row = Self::new(name, 0.0, unit).against(format!("not measured: {why}"));
        Self { value: None, ..row }
    }

    /// Says what the value is held against.
    pub(crate) fn against(mut self, baseline: impl Into<String>) -> Self {
        self.baseline = baseline.into();
        self
    }

    /// Says what the value has to be.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self.met = self.value.map(|value| goal.is_met(value));
        self
    }

    /// Says where a plot shows it.
    pub(crate) fn plotted(mut self, point: Point) -> Self {
        self.point = Some(point);
        self
    }

    /// The cells in the order of [`HEAD`].
    pub(crate) fn cells(&self) -> [String; 6] {
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        [
            self.name.clone(),
            self.value.map(|value| value.to_string()).unwrap_or_else(|| "–".into()),
            self.unit.to_string(),
            self.baseline.clone(),
            self.goal.map(|goal| goal.to_string()).unwrap_or_default(),
            met.into(),
        ]
    }
}

/// Names of the columns; the kernel is the same in all rows.
pub(crate) const HEAD: [&str; 6] = ["name", "value", "unit", "baseline", "goal", "met"];

/// Four digits that count, as more would be noise.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = (3.0 - value.abs().log10().floor()).max(0.0);
    let scale = 10f64.powf(digits);
    (value * scale).round() / scale
}

/// For a terminal.
pub(crate) fn table(rows: &[Row]) -> String {
    let head = HEAD.map(str::to_owned);
    let lines: Vec<[String; 6]> =
        std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}
