//! Measures what `cargo xtask bench` shows. Everything it needs it makes itself: network namespaces,
//! cgroups, daemons; nothing outside of these sees a fault or a program.
#![forbid(unsafe_code)]

mod agent;
mod compare;
mod daemon;
mod document;
mod machine;
mod place;
mod process;
mod program;
mod row;
mod setting;
mod statistics;
mod suite;
mod worker;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use row::{Row, table};
use suite::Suite;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measures.
    Run(Run),
    /// Sends and receives, somewhere.
    Agent(agent::Options),
}

/// What to measure and with what.
#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    subjects: setting::Subjects,
    #[arg(long)]
    json: Option<PathBuf>,
    /// The page to rewrite.
    #[arg(long)]
    document: Option<PathBuf>,
    names: Vec<String>,
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Run(run) => measure(&run),
        Verb::Agent(options) => agent::run(&options),
    }
}

fn measure(run: &Run) -> Result<()> {
    // Mounts made from here on are this process's and its children's, and go with them.
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace; run as root")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot keep mounts private")?;
    let mut rows = Vec::new();
    for suite in chosen(&run.names)? {
        eprintln!("bench: {}", suite.name());
        let measured = suite
            .run(&run.subjects)
            .with_context(|| format!("the suite {} did not end", suite.name()))?;
        rows.extend(measured.into_iter().filter(|row| is_wanted(row, &run.names)));
    }
    print!("{}", table(&rows));
    let missed = rows.iter().filter(|row| row.met == Some(false)).count();
    println!("{} rows, {missed} goals missed; kernel {}", rows.len(), machine::kernel());
    if let Some(file) = &run.json {
        std::fs::write(file, serde_json::to_string_pretty(&rows)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(page) = &run.document {
        document::write(page, &rows)?;
    }
    Ok(())
}

fn is_wanted(row: &Row, names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| row.name.starts_with(name.as_str()))
}

/// The suites that may have rows which begin so.
fn chosen(names: &[String]) -> Result<Vec<Suite>> {
    let may = |suite: &Suite, name: &String| {
        suite.name().starts_with(name.as_str()) || name.starts_with(suite.name())
    };
    for name in names {
        ensure!(
            Suite::ALL.iter().any(|suite| may(suite, name)),
            "no row begins with {name:?}; rows begin with {}",
            Suite::ALL.map(Suite::name).join(", ")
        );
    }
    let mut all = Suite::ALL.to_vec();
    all.retain(|suite| names.is_empty() || names.iter().any(|name| may(suite, name)));
    Ok(all)
}
