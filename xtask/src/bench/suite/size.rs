//! How big the programs are, as they are shipped.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{row::Row, setting::Subjects};

pub(super) fn run(subjects: &Subjects) -> Result<Vec<Row>> {
    Ok(vec![
        Row::new("size: chaos-daemon, static", size(&subjects.daemon)?, "MiB"),
        Row::new("size: chaos, static", size(&subjects.chaos)?, "MiB"),
    ])
}

fn size(program: &Path) -> Result<f64> {
    let bytes = fs::metadata(program)
        .with_context(|| format!("cannot look at {}", program.display()))?
        .len();
    Ok(bytes as f64 / f64::from(1 << 20))
}
