//! The end of a test run: failures, skips, a table, and one plain closing line.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::libtest::{Results, Skip};

/// What one place (unit tests, the host, a kernel) had to say.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) results: Results,
    /// What went wrong beside failing tests: it counts as one more failure.
    pub(crate) trouble: Option<String>,
    pub(crate) elapsed: Duration,
}

impl Run {
    /// A run that did not get to any test.
    pub(crate) fn broken(name: &str, trouble: impl fmt::Display) -> Self {
        Self {
            name: name.to_owned(),
            results: Results::default(),
            trouble: Some(trouble.to_string()),
            elapsed: Duration::ZERO,
        }
    }

    /// A run that was left out, and why.
    pub(crate) fn skipped(name: &str, reason: impl fmt::Display) -> Self {
        let skip = Skip { test: "everything".to_owned(), reason: reason.to_string() };
        let results = Results { skips: vec![skip], ..Results::default() };
        Self { name: name.to_owned(), results, trouble: None, elapsed: Duration::ZERO }
    }

    /// Whether it went well and had nothing to run.
    fn is_empty(&self) -> bool {
        let Results { passed, failed, skips, .. } = &self.results;
        passed + failed + skips.len() == 0 && self.trouble.is_none()
    }

    fn failed(&self) -> usize {
        self.results.failed + usize::from(self.trouble.is_some())
    }
}

/// All runs of one `cargo xtask test`.
pub(crate) struct Report(Vec<Run>);

impl Report {
    /// Of these runs. A filter that selected no test anywhere is a mistake, and fails.
    pub(crate) fn of(mut runs: Vec<Run>, filter: Option<&str>) -> Self {
        if let Some(filter) = filter
            && runs.iter().all(Run::is_empty)
        {
            runs.push(Run::broken("filter", format_args!("no test matches `{filter}`")));
        }
        Self(runs)
    }

    /// Whether nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        self.total(Run::failed) == 0
    }

    fn total(&self, of: impl Fn(&Run) -> usize) -> usize {
        self.0.iter().map(of).sum()
    }

    fn failures(&self, out: &mut String) -> fmt::Result {
        for run in &self.0 {
            for failure in &run.results.failures {
                writeln!(
                    out,
                    "\nFAILED [{}] {}\n{}",
                    run.name,
                    failure.test,
                    failure.output.trim_end()
                )?;
            }
            if let Some(trouble) = &run.trouble {
                writeln!(out, "\nFAILED [{}] {trouble}", run.name)?;
            }
        }
        Ok(())
    }

    /// One line per reason and test, with the runs it holds for.
    fn skips(&self, out: &mut String) -> fmt::Result {
        let mut grouped: BTreeMap<&Skip, Vec<&str>> = BTreeMap::new();
        for run in &self.0 {
            for skip in &run.results.skips {
                grouped.entry(skip).or_default().push(&run.name);
            }
        }
        if !grouped.is_empty() {
            writeln!(out, "\nSkipped:")?;
        }
        let mut last = "";
        for (skip, runs) in grouped {
            if skip.reason != last {
                writeln!(out, "  {}", skip.reason)?;
                last = &skip.reason;
            }
            writeln!(out, "    {} [{}]", skip.test, runs.join(", "))?;
        }
        Ok(())
    }

    fn table(&self, out: &mut String) -> fmt::Result {
        let width = self.0.iter().map(|run| run.name.len()).max().unwrap_or_default();
        writeln!(
            out,
            "\n{:width$} {:>7} {:>7} {:>8} {:>8}",
            "", "passed", "failed", "skipped", "time"
        )?;
        for run in &self.0 {
            let (passed, skipped) = (run.results.passed, run.results.skips.len());
            let seconds = run.elapsed.as_secs_f64();
            writeln!(
                out,
                "{:width$} {passed:>7} {:>7} {skipped:>8} {seconds:>6.1} s",
                run.name,
                run.failed()
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.failures(&mut out)?;
        self.skips(&mut out)?;
        self.table(&mut out)?;
        let (passed, failed) = (self.total(|run| run.results.passed), self.total(Run::failed));
        let skipped = self.total(|run| run.results.skips.len());
        writeln!(out, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
        f.write_str(&out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::libtest::Failure;

    #[test]
    fn everything_that_failed_counts() {
        let results = Results {
            passed: 3,
            failed: 1,
            failures: vec![Failure { test: "a".to_owned(), output: "left != right\n".to_owned() }],
            ..Results::default()
        };
        let good = Run {
            name: "6.12".to_owned(),
            results,
            trouble: None,
            elapsed: Duration::from_secs(5),
        };
        let runs =
            vec![good, Run::broken("7.3", "the kernel panicked"), Run::skipped("host", "not root")];
        let report = Report::of(runs, None);
        let text = report.to_string();
        assert!(!report.is_good());
        assert!(text.ends_with("\n3 passed, 2 failed, 1 skipped\n"), "{text}");
        for part in [
            "FAILED [6.12] a\nleft != right\n",
            "FAILED [7.3] the kernel panicked\n",
            "  not root\n    everything [host]\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_filter_that_matches_nothing_anywhere_is_a_failure() {
        let run = |passed| Run {
            name: "host".to_owned(),
            results: Results { passed, closed: 1, ..Results::default() },
            trouble: None,
            elapsed: Duration::ZERO,
        };
        let text = |report: &Report| report.to_string();
        let nothing = Report::of(vec![run(0), run(0)], Some("typo"));
        assert!(!nothing.is_good());
        assert!(text(&nothing).contains("no test matches `typo`\n"), "{}", text(&nothing));
        // Somewhere it matched, nobody asked for anything in particular, or it is not known.
        for (runs, filter) in [
            (vec![run(0), run(1)], Some("network_loss")),
            (vec![run(0)], None),
            (vec![run(0), Run::skipped("host", "not root")], Some("typo")),
        ] {
            assert!(Report::of(runs, filter).is_good());
        }
        let broken = Report::of(vec![Run::broken("7.3", "the kernel panicked")], Some("typo"));
        assert!(!text(&broken).contains("typo"));
    }
}
