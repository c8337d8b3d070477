//! The rows of one run, and where they were measured.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{
    machine,
    row::{Row, table},
};

/// What a VM's console shows in front of a report.
const LINE: &str = "chaos-bench: report ";

/// One run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: String,
    pub(crate) kernel: String,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Of what was measured here.
    pub(crate) fn of(rows: Vec<Row>) -> Self {
        Self { machine: machine::description(), kernel: machine::kernel(), rows }
    }

    /// For a terminal.
    pub(crate) fn show(&self) {
        print!("{}", table(&self.rows));
        let missed = self.rows.iter().filter(|row| row.met == Some(false)).count();
        println!("{} rows, {missed} goals missed; kernel {}", self.rows.len(), self.kernel);
    }

    /// For whoever reads the console of this machine.
    pub(crate) fn hand_over(&self) -> Result<()> {
        println!("{LINE}{}", serde_json::to_string(self)?);
        Ok(())
    }

    /// From a file of [`Report::hand_over`]'s JSON.
    pub(crate) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("cannot read the report")
    }

    /// The rows as a file.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.rows)? + "\n")
    }
}
