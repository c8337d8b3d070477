//! Measures what `cargo xtask bench` shows. Everything it needs it makes itself: network namespaces,
//! cgroups, daemons; nothing outside of these sees a fault or a program.
#![forbid(unsafe_code)]

mod agent;
mod compare;
mod daemon;
mod document;
mod flight;
mod machine;
mod place;
mod plot;
mod process;
mod program;
mod report;
mod row;
mod setting;
mod statistics;
mod suite;
mod worker;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use document::Section;
use report::Report;
use row::Row;
use suite::{Suite, Wanted};

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
    /// Shows what a VM has measured.
    Show(Show),
}

/// What a VM has measured, and where it goes.
#[derive(clap::Args)]
struct Show {
    /// The report.
    #[arg(long)]
    report: PathBuf,
    #[arg(long)]
    json: Option<PathBuf>,
    /// The page to rewrite.
    #[arg(long)]
    document: Option<PathBuf>,
    /// The plot to draw.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// They are faults of calls, and not of the network.
    #[arg(long)]
    calls: bool,
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
    /// Hands the report over on the console.
    #[arg(long)]
    hand_over: bool,
    names: Vec<String>,
}

fn main() -> Result<()> {
    match Cli::parse().verb {
        Verb::Run(run) => measure(&run),
        Verb::Agent(options) => agent::run(&options),
        Verb::Show(options) => show(&options),
    }
}

fn measure(run: &Run) -> Result<()> {
    // Mounts made from here on are this process's and its children's, and go with them.
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace; run as root")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .context("cannot keep mounts private")?;
    let mut rows = Vec::new();
    let wanted = Wanted(&run.names);
    for suite in chosen(&run.names)? {
        eprintln!("bench: {}", suite.name());
        let measured = suite
            .run(&run.subjects, &wanted)
            .with_context(|| format!("the suite {} did not end", suite.name()))?;
        rows.extend(measured.into_iter().filter(|row| wanted.has(&row.name)));
    }
    let report = Report::of(rows);
    if run.hand_over {
        return report.hand_over();
    }
    report.show();
    if let Some(file) = &run.json {
        write(file, &report.json()?)?;
    }
    let Some(page) = &run.document else { return Ok(()) };
    // Each where it belongs, so that one can be measured without the other.
    let (of_names, others): (Vec<Row>, Vec<Row>) =
        report.rows.into_iter().partition(|row| row.name.starts_with(Suite::Dns.name()));
    for (section, rows) in [(Section::Dns, of_names), (Section::Host, others)] {
        if !rows.is_empty() {
            document::write(page, section, &Report::of(rows))?;
        }
    }
    Ok(())
}

fn show(show: &Show) -> Result<()> {
    let text = std::fs::read_to_string(&show.report)
        .with_context(|| format!("cannot read {}", show.report.display()))?;
    let report = Report::read(&text)?;
    report.show();
    if let Some(file) = &show.plot {
        write(file, &plot::draw(&report.rows))?;
    }
    let section = if show.calls { Section::Call } else { Section::Network };
    if let Some(file) = &show.json {
        write(file, &report.json()?)?;
    }
    show.document.as_ref().map_or(Ok(()), |page| document::write(page, section, &report))
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The suites that may have rows which begin so.
fn chosen(names: &[String]) -> Result<Vec<Suite>> {
    let may = |suite: &Suite, name: &String| {
        suite.name().starts_with(name.as_str()) || name.starts_with(suite.name())
    };
    for name in names {
        ensure!(
            Suite::all().any(|suite| may(&suite, name)),
            "no row begins with {name:?}; rows begin with {}",
            Suite::all().map(Suite::name).collect::<Vec<_>>().join(", ")
        );
    }
    if names.is_empty() {
        return Ok(Suite::HOST.to_vec());
    }
    let is_named = |suite: &Suite| names.iter().any(|name| may(suite, name));
    Ok(Suite::all().filter(is_named).collect())
}
