//! `cargo xtask compat`: what a daemon says under each kernel that it can do, having tried it, as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::artifacts::{self, Binaries, Profile};
use crate::setup::{self, Need};
use crate::sh;
use crate::vm::{self, Echo, Guest, Outcome, Prepared, matrix};

/// What to ask, and where the answer goes.
#[derive(Args)]
pub(crate) struct Options {
    /// Asks the kernels whose name begins so: `6.12`, `7`. May be given several times. Default: this machine's and all
    /// of the matrix.
    #[arg(long, value_name = "PREFIX", conflicts_with = "write")]
    kernel: Vec<String>,
    /// Rewrites the table in docs/compatibility.md.
    #[arg(long)]
    write: bool,
}

/// The page that is rewritten, and where in it.
const PAGE: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- begin: written by cargo xtask compat --write -->";
const END: &str = "<!-- end -->";
/// The program and its command that ask the daemon, and what stands in front of the answer.
const ASK: (&str, &str) = ("vm-tests", "capabilities");
const MARK: &str = "vm-tests: capabilities ";

/// What is said of one aspect of a fault under one kernel.
#[derive(Clone, Debug, Deserialize)]
struct Said {
    fault: String,
    aspect: String,
    mechanism: Option<String>,
    reason: Option<String>,
    caveats: Vec<String>,
}

/// What one kernel says.
struct Column {
    kernel: String,
    said: Vec<Said>,
}

pub(crate) fn verb(options: &Options) -> Result<()> {
    setup::ensure(&[Need::Vm, Need::Packages])?;
    let binaries = artifacts::build(Profile::Test)?;
    let mut columns = Vec::new();
    for kernel in matrix::select(&options.kernel)? {
        columns.push(under(&kernel.prepare()?, &binaries)?);
    }
    if options.kernel.is_empty() {
        columns.push(here(&binaries)?);
    }
    let text = tables(&columns);
    if !options.write {
        println!("{text}");
        return Ok(());
    }
    let path: PathBuf = sh::workspace().join(PAGE);
    let page = std::fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    std::fs::write(&path, spliced(&page, &text)?).with_context(|| format!("cannot write {PAGE}"))
}

/// Asks in a VM.
fn under(kernel: &Prepared, binaries: &Binaries) -> Result<Column> {
    sh::say(format_args!("asking Linux {}", kernel.release));
    let program = format!("/bin/{}", ASK.0);
    let guest = Guest::new(&[&program, ASK.1], Echo::LinesUntil(kernel.name.clone(), MARK));
    let finished = vm::run(kernel, binaries, &guest)?;
    ensure!(
        finished.outcome == Outcome::Exited(0),
        "Linux {}: {} (console: {})",
        kernel.release,
        finished.outcome,
        finished.log.display()
    );
    column(kernel.name.clone(), finished.lines.iter().map(String::as_str))
}

/// Asks this machine.
fn here(binaries: &Binaries) -> Result<Column> {
    let release = nix::sys::utsname::uname().context("cannot ask for the kernel's release")?;
    let release = release.release().to_string_lossy().into_owned();
    sh::say(format_args!("asking Linux {release}, here"));
    let program = binaries.program(ASK.0)?;
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new(program)
    } else {
        ensure!(
            sh::which("sudo").is_some(),
            "loading eBPF programs takes root, and there is no sudo"
        );
        let mut sudo = Command::new("sudo");
        sudo.arg(program);
        sudo
    };
    let text = sh::capture_text(command.arg(ASK.1))?;
    let line = release.split('.').take(2).collect::<Vec<_>>().join(".");
    column(format!("{line}, here"), text.lines())
}

fn column<'a>(kernel: String, mut lines: impl Iterator<Item = &'a str>) -> Result<Column> {
    let line = lines.find_map(|line| line.strip_prefix(MARK));
    let line = line.with_context(|| format!("the daemon under {kernel} said nothing"))?;
    Ok(Column { kernel, said: serde_json::from_str(line).context("cannot read what it said")? })
}

/// A table with a line for each aspect, and what its letters stand for.
fn tables(columns: &[Column]) -> String {
    let mut text = String::from("| fault | aspect |");
    for column in columns {
        let _ = write!(text, " {} |", column.kernel);
    }
    let _ = writeln!(text, "\n|{}", "---|".repeat(columns.len() + 2));
    let mut mechanisms = Numbers::default();
    let mut reasons: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut caveats: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let lines = columns.first().map(|column| column.said.as_slice()).unwrap_or_default();
    for (at, line) in lines.iter().enumerate() {
        let _ = write!(text, "| {} | {} |", line.fault, line.aspect);
        for Column { kernel, said } in columns {
            // All daemons are of one build, and say the same things in the same order.
            let cell = said.get(at).map_or_else(String::new, |said| {
                for caveat in &said.caveats {
                    caveats.entry(caveat.clone()).or_default().insert(kernel.clone());
                }
                match (&said.mechanism, &said.reason) {
                    (Some(mechanism), _) => mechanisms.of(mechanism).to_string(),
                    (None, reason) => {
                        let reason = reason.clone().unwrap_or_default();
                        let place = format!("{}, {} on {kernel}", said.fault, said.aspect);
                        reasons.entry(reason).or_default().insert(place);
                        "–".into()
                    }
                }
            });
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\nBy these mechanisms:\n");
    for (number, mechanism) in mechanisms.0.iter().enumerate() {
        let _ = writeln!(text, "{}. {mechanism}", number + 1);
    }
    list(&mut text, "Not there, and why", &reasons);
    list(&mut text, "Less well", &caveats);
    text.trim_end().to_owned()
}

fn list(text: &mut String, title: &str, said: &BTreeMap<String, BTreeSet<String>>) {
    if said.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{title}:\n");
    for (what, places) in said {
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let _ = writeln!(text, "- {what}: {}", places.join("; "));
    }
}

/// Mechanisms in the order in which they come first.
#[derive(Default)]
struct Numbers(Vec<String>);

impl Numbers {
    fn of(&mut self, mechanism: &str) -> usize {
        if let Some(at) = self.0.iter().position(|known| known == mechanism) {
            return at + 1;
        }
        self.0.push(mechanism.to_owned());
        self.0.len()
    }
}

/// The page with another table.
fn spliced(page: &str, text: &str) -> Result<String> {
    let Some((before, rest)) = page.split_once(BEGIN) else {
        bail!("{PAGE} has no line {BEGIN:?}");
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("{PAGE} has no line {END:?} after {BEGIN:?}");
    };
    Ok(format!("{before}{BEGIN}\n\n{text}\n\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::{Column, Said, spliced, tables};

    fn said(mechanism: Option<&str>) -> Vec<Said> {
        let reason = mechanism.is_none().then(|| "too old".to_owned());
        vec![Said {
            fault: "file delay".into(),
            aspect: "write".into(),
            mechanism: mechanism.map(str::to_owned),
            reason,
            caveats: Vec::new(),
        }]
    }

    #[test]
    fn a_kernel_is_a_column() {
        let columns = [("5.10", None), ("7.3", Some("asking"))]
            .map(|(kernel, how)| Column { kernel: kernel.into(), said: said(how) });
        let text = tables(&columns);
        assert!(text.contains("| file delay | write | – | 1 |"), "{text}");
        assert!(text.contains("1. asking"), "{text}");
        assert!(text.contains("- too old: file delay, write on 5.10"), "{text}");
    }

    #[test]
    fn what_stands_around_the_table_stays() {
        let page = format!("a\n{}\nold\n{}\nb", super::BEGIN, super::END);
        let fresh = spliced(&page, "new").unwrap();
        assert!(fresh.starts_with("a\n") && fresh.ends_with("\nb"), "{fresh}");
        assert!(fresh.contains("new") && !fresh.contains("old"), "{fresh}");
        assert!(spliced("nothing", "new").is_err());
    }
}
