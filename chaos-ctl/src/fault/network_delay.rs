//! `network delay`

use std::path::{Path, PathBuf};

use chaos_common::{
    fault::{DelayParts, Distribution, Fault, NetworkDelay, Table},
    invalid::Invalid,
    spec::MAX_FILE,
    value::{Percent, Wait},
};

use super::{above_zero, network_filter::FilterFlags, of_flag};
use crate::{file, output::path as shown};

/// Packets arrive later
#[derive(Clone, Debug, clap::Args)]
#[command(about = "Packets arrive later", next_help_heading = "What")]
pub(super) struct Flags {
    /// Hold packets for this long on average: 100ms, 1s500ms, 250us
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    latency: Wait,

    /// How far it strays from that [default: 0s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    jitter: Option<Wait>,

    /// How it strays: uniform, normal, pareto, paretoNormal [default: uniform]
    ///
    /// uniform is evenly from LATENCY - JITTER to LATENCY + JITTER. Of the others JITTER is the standard
    /// deviation.
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    #[arg(requires = "jitter", conflicts_with = "distribution_file")]
    distribution: Option<Distribution>,

    /// How it strays, measured: a file in the format of netem's tables (*.dist)
    ///
    /// Whole numbers that are equally likely; 8192 stands for LATENCY + JITTER, and 0 for LATENCY.
    #[arg(long, value_name = "FILE", requires = "jitter")]
    distribution_file: Option<PathBuf>,

    /// Chance that a packet is held as long as the one before [default: 0]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, requires = "jitter")]
    correlation: Option<Percent>,

    /// Let packets of one connection overtake each other
    ///
    /// Without it a packet that drew a short time waits for those before it.
    #[arg(long)]
    reorder: bool,

    /// Hold each packet with this chance only [default: 100]
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = above_zero)]
    percent: Option<Percent>,

    #[command(flatten)]
    filter: FilterFlags,
}

impl TryFrom<Flags> for Fault {
    type Error = Invalid;

    fn try_from(flags: Flags) -> Result<Self, Invalid> {
        let distribution = match (flags.distribution, flags.distribution_file) {
            (named, None) => named,
            (_, Some(path)) => {
                let table = table(&path).map_err(|invalid| invalid.at("--distribution-file"))?;
                Some(Distribution::Table(table))
            }
        };
        let parts = DelayParts {
            latency: flags.latency,
            jitter: flags.jitter,
            distribution,
            correlation: flags.correlation,
            reorder: flags.reorder,
            percent: flags.percent,
            filter: flags.filter.try_into()?,
        };
        NetworkDelay::try_from(parts).map(Self::NetworkDelay).map_err(of_flag)
    }
}

fn table(path: &Path) -> Result<Table, Invalid> {
    let text = file::read(path).map_err(|error| Invalid::new(format!("{error:#}")))?;
    if text.len() > MAX_FILE {
        let problem = format!("{} is too long; the most is {MAX_FILE} bytes", shown(path));
        return Err(Invalid::new(problem));
    }
    text.parse()
        .map_err(|invalid: Invalid| Invalid::new(format!("{}: {}", shown(path), invalid.problem)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::tests::{parse, refused};

    #[test]
    fn all_flags_arrive() {
        for (flags, said) in [
            ("--latency 100ms", "100ms, out"),
            ("--latency 0s --jitter 5ms", "0s ± 5ms uniform, out"),
            (
                "--latency 100ms --jitter 10ms --distribution normal --correlation 25 --reorder \
                 --percent 50 --direction both",
                "100ms ± 10ms normal (correlation 25 %) for 50 %, in any order, both",
            ),
            (
                "--latency 1s500ms --jitter 1ms --distribution PARETOnormal",
                "1s 500ms ± 1ms paretoNormal, out",
            ),
        ] {
            let fault = parse(&format!("network delay {flags}")).unwrap().to_string();
            assert_eq!(fault, format!("network delay {said}"));
        }
    }

    #[test]
    fn a_table_is_read_from_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("measured.dist");
        let line = format!(
            "network delay --latency 9ms --jitter 1ms --distribution-file {}",
            path.display()
        );
        refused(&line, "--distribution-file: cannot open");
        fs::write(&path, "# measured\n-8192 0\n 8192\n").unwrap();
        let fault = parse(&line).unwrap().to_string();
        assert_eq!(fault, "network delay 9ms ± 1ms table of 3 values, out");
        for (text, words) in [
            ("", "0 values are no table"),
            ("1 two", "\"two\" is no whole number"),
            (&"0 ".repeat(1 << 20), "is too long"),
        ] {
            fs::write(&path, text).unwrap();
            refused(&line, words);
        }
    }

    #[test]
    fn what_would_do_nothing_or_contradicts_itself_is_refused() {
        for (flags, words) in [
            ("", "--latency <DURATION>"),
            ("--latency 0s", "--latency: no time at all would do nothing"),
            ("--latency 100", "write it as 100ms"),
            ("--latency -1s", "write it as 100ms"),
            ("--latency 61m", "61m is too long; the most is 1h"),
            ("--latency 1s --distribution normal", "--jitter"),
            ("--latency 1s --correlation 5", "--jitter"),
            ("--latency 1s --distribution-file a", "--jitter"),
            (
                "--latency 1s --jitter 0s --correlation 5",
                "--correlation: is about the jitter, and there is none",
            ),
            ("--latency 1s --jitter 1s --distribution gauss", "no distribution"),
            (
                "--latency 1s --jitter 1s --distribution normal --distribution-file a",
                "cannot be used with",
            ),
            ("--latency 1s --percent 0", "0 % would do nothing"),
        ] {
            refused(format!("network delay {flags}").trim_end(), words);
        }
    }
}
