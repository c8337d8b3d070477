//! `docs/benchmarks.md`: what stands between the markers is generated.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result, bail};

use crate::{report::Report, row::HEAD};

const END: &str = "<!-- end -->";

/// A generated part of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// What is measured on this machine.
    Host,
    /// The faults of names, on this machine too.
    Dns,
    /// The network faults, in a VM.
    Network,
    /// Faults of calls, in a VM.
    Call,
}

impl Section {
    fn begin(self) -> &'static str {
        match self {
            Self::Host => "<!-- begin: written by cargo xtask bench --write -->",
            Self::Dns => "<!-- begin: written by cargo xtask bench dns --write -->",
            Self::Network => "<!-- begin: written by cargo xtask bench network --write -->",
            Self::Call => "<!-- begin: written by cargo xtask bench call --write -->",
        }
    }
}

/// The page where there is none yet.
const PAGE: &str = "\
# Benchmarks

Every row is measured by `cargo xtask bench`, on the machine and the kernel named below the table. A ratio (×) is the
median over rounds in which both sides were measured one after the other, in turn, by the same process on the same
sockets; the baseline names what the value is held against and its own figure. Where a row is another tool's, it shows what
the same thing costs there.

* A *send* is `send(2)` of one byte over UDP, a *write* is `write(2)` of 64 KiB over TCP; each with everything that the
  kernel does before the call returns: on loopback and over a veth pair that includes the way up to the receiving socket.
* An *empty program* does nothing but return, attached to the same hook.
* *ns per run* is the kernel's own count (`BPF_ENABLE_STATS`), which adds its two readings of the clock to each run.
* The *classic way* is what tools without eBPF do to reach one destination: htb as the root qdisc with one u32 filter for each
  address, set up with `tc(8)`.

To repeat it, as root on a quiet machine: `cargo xtask bench --write`. `cargo xtask bench NAME…` measures only some rows,
`--json FILE` writes them for programs.

<!-- begin: written by cargo xtask bench --write -->
<!-- end -->

## Faults of names

On the same machine: `cargo xtask bench dns --write`.

<!-- begin: written by cargo xtask bench dns --write -->
<!-- end -->

## Network faults

In a VM, whose kernel has netem: `cargo xtask bench network --write`.

<!-- begin: written by cargo xtask bench network --write -->
<!-- end -->

## Faults of calls

In a VM, whose kernel lets programs replace what system calls return: `cargo xtask bench call --write`.

<!-- begin: written by cargo xtask bench call --write -->
<!-- end -->
";

/// Replaces a generated part, and makes the page if there is none.
pub(crate) fn write(page: &Path, section: Section, report: &Report) -> Result<()> {
    let begin = section.begin();
    let text = match fs::read_to_string(page) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => PAGE.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", page.display())),
    };
    let Some((before, rest)) = text.split_once(begin) else {
        bail!("{} has no line {begin:?}", page.display());
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("{} has no line {END:?} after {begin:?}", page.display());
    };
    let fresh = format!("{before}{begin}\n\n{}\n{END}{after}", generated(report));
    fs::write(page, fresh).with_context(|| format!("cannot write {}", page.display()))
}

fn generated(report: &Report) -> String {
    let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for row in &report.rows {
        let _ =
            writeln!(text, "| {} |", row.cells().map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    let _ = writeln!(text, "\nMachine: {}. Kernel: {}.", report.machine, report.kernel);
    text
}
