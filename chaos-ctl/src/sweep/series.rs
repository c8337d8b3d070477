//! All runs of a sweep, one after the other.

use std::{ffi::OsString, time::Duration};

use anyhow::{Context as _, bail, ensure};
use chaos_common::{fault::Fault, spec::Times, value::Lifetime};

use super::{
    Sweep,
    ground::{Aimed, Ground, Ran, Task},
    positions::Chosen,
    process::Running,
    progress::Progress,
    report::{Baseline, Report, Row},
    shell,
    verdict::{Checked, End, Expected, Facts, Hit, Process, Verdict},
};
use crate::{
    error::note,
    output::{Format, clean},
};

/// How much longer than without the fault a run may take.
const FACTOR: u32 = 10;
/// And so much on top.
const GRACE: Duration = Duration::from_secs(5);

/// A process that is not ours has its faults for no longer than a policy usually allows.
const LONGEST_BASELINE: Duration = Duration::from_secs(4 * 60);
/// By so much a fault outlives its run, if nobody ends it.
const MARGIN: Duration = Duration::from_secs(60);

/// What [`hold`](crate::exec) exits with where there is nothing to run.
const NOT_RUN: [i32; 2] = [126, 127];

/// A sweep and what has come of it.
pub(super) struct Series {
    sweep: Sweep,
    process: Option<Running>,
    before: Option<Helper>,
    check: Option<Helper>,
    baseline: Option<Baseline>,
    rows: Vec<Row>,
    next: Option<u64>,
    left_out: String,
}

/// A command beside the one that is swept.
struct Helper {
    flag: &'static str,
    words: Vec<OsString>,
    /// Known once it has run.
    limit: Option<Duration>,
}

impl Series {
    pub(super) fn new(sweep: Sweep, process: Option<Running>) -> Self {
        let helper = |flag, text: &Option<String>| {
            text.as_ref().map(|text| Helper { flag, words: shell::words(text), limit: None })
        };
        Self {
            before: helper("--before", &sweep.before),
            check: helper("--check", &sweep.check),
            sweep,
            process,
            baseline: None,
            rows: Vec::new(),
            next: None,
            left_out: String::new(),
        }
    }

    /// What has come of it, if anything.
    pub(super) fn report(self) -> Option<Report> {
        let Self { sweep, process, baseline, rows, next, left_out, .. } = self;
        let fault = sweep.swept.fault().clone();
        let pid = process.map(|process| process.pid());
        let has_check = sweep.check.is_some();
        baseline.map(|baseline| Report { fault, left_out, pid, has_check, baseline, rows, next })
    }

    /// All runs.
    ///
    /// # Errors
    /// When there is nothing to sweep, something other than the command does not work, or somebody wants an end. What
    /// came of it until then is in the report.
    pub(super) fn run(&mut self, ground: &mut Ground, format: Format) -> anyhow::Result<()> {
        let nowhere = self.sweep.swept.nowhere()?;
        match &self.process {
            None => ground.hold(nowhere, Lifetime::MAX)?,
            // A policy may have something against it, which only makes the sweep slower.
            Some(_) => ground.hold(nowhere, Lifetime::DEFAULT).unwrap_or_default(),
        }
        let baseline = self.measure(ground);
        self.left_out = ground.left_out().to_owned();
        if !self.left_out.is_empty() {
            note(format_args!("left out: {}", clean(&self.left_out)), format);
        }
        let baseline = baseline?;
        let Baseline { end, calls, took, limit } = baseline;
        let expected = Expected { baseline: end, codes: self.sweep.codes.clone() };
        self.baseline = Some(baseline);
        ensure!(calls > 0, "the fault matches no call that is made; nothing can fail");
        let Chosen { positions, next } = self.sweep.positions.among(calls);
        ensure!(
            !positions.is_empty(),
            "the sweep begins at call {}, and only {calls} match",
            positions.start()
        );
        note(
            format_args!(
                "with no failing call: exit {end} after {}, {calls} matching calls; a run may take {}",
                seconds(took),
                seconds(limit)
            ),
            format,
        );
        let progress = Progress::to(*positions.end(), format);
        for position in positions {
            progress.at(position);
            let row = self.attempt(ground, position, &expected, limit)?;
            if row.verdict.is_found() || row.is_odd(end) {
                progress.clear();
                note(row.sentence(), format);
            }
            let is_gone = row.process == Process::Gone;
            self.rows.push(row);
            if is_gone {
                self.next = Some(position + 1);
                return Ok(());
            }
        }
        self.next = next;
        ensure!(
            self.rows.iter().any(|row| row.verdict != Verdict::NotReached),
            "no run made so many matching calls; without a failing one there are {calls}"
        );
        Ok(())
    }

    /// Runs it all without a failing call.
    fn measure(&mut self, ground: &mut Ground) -> anyhow::Result<Baseline> {
        const NAME: &str = "baseline";
        self.prepare(ground, NAME)?;
        let fault = self.sweep.swept.nowhere()?;
        let limit = self.process.as_ref().map(|_| LONGEST_BASELINE);
        let ran = self.once(ground, NAME, fault, self.sweep.timeout.or(limit))?;
        let said = last_of(&ran.said);
        let end = match ran.end {
            End::Code(code) if NOT_RUN.contains(&code) && said.contains("cannot run") => {
                bail!("{}", said.trim_start_matches(": chaos: "))
            }
            End::Code(code) => code,
            End::Signal(_) => bail!(
                "with no failing call the command ends by {}, so there is nothing to compare with{said}",
                ran.end
            ),
            End::Timeout => bail!(
                "with no failing call the command does not end within {}; --timeout gives it longer{said}",
                seconds(ran.took)
            ),
        };
        let (checked, found) = self.check(ground, NAME, ran.end)?;
        ensure!(
            checked != Checked::Bad,
            "the command of --check fails when no call has failed{}",
            last_of(&found)
        );
        if let Some(process) = &self.process {
            ensure!(process.lives(), "process {} ended, though no call has failed", process.pid());
        }
        let limit = self.sweep.timeout.unwrap_or_else(|| allowed(ran.took));
        Ok(Baseline { end, calls: ran.counters.matched, took: ran.took, limit })
    }

    /// Fails the call at a position.
    fn attempt(
        &mut self,
        ground: &mut Ground,
        position: u64,
        expected: &Expected,
        limit: Duration,
    ) -> anyhow::Result<Row> {
        let name = position.to_string();
        let doing = || format!("at call {position}");
        self.prepare(ground, &name).with_context(doing)?;
        let fault = self.sweep.swept.at(position)?;
        let ran = self.once(ground, &name, fault, Some(limit)).with_context(doing)?;
        let process = match &self.process {
            Some(process) if !process.lives() => Process::Gone,
            Some(_) | None => Process::Fine,
        };
        let (checked, found) = self.check(ground, &name, ran.end).with_context(doing)?;
        let hit = if ran.counters.fired > 0 { Hit::Yes } else { Hit::No };
        let facts = Facts { hit, end: ran.end, checked, process };
        let verdict = Verdict::of(facts, expected);
        let Ran { end, took, said, call, .. } = ran;
        Ok(Row { position, verdict, end, process, took, call, checked, found, said })
    }

    /// Runs the command with a fault.
    fn once(
        &self,
        ground: &mut Ground,
        name: &str,
        (fault, times): (Fault, Times),
        limit: Option<Duration>,
    ) -> anyhow::Result<Ran> {
        let process = self.process.as_ref();
        let duration = match (process, limit) {
            (Some(_), Some(limit)) => (limit + MARGIN).try_into()?,
            (_, _) => Lifetime::MAX,
        };
        let fault = Some(Aimed { fault, times, process, duration });
        ground.run(Task { command: &self.sweep.command, variables: &[], limit, name, fault })
    }

    fn prepare(&mut self, ground: &mut Ground, position: &str) -> anyhow::Result<()> {
        let Some(before) = &mut self.before else { return Ok(()) };
        let ran = before.run(ground, position, Vec::new())?;
        ensure!(
            ran.end == End::Code(0),
            "the command of --before fails ({}){}",
            ran.end,
            last_of(&ran.said)
        );
        Ok(())
    }

    /// What the check says of a run, and its last words.
    fn check(
        &mut self,
        ground: &mut Ground,
        position: &str,
        end: End,
    ) -> anyhow::Result<(Checked, Vec<String>)> {
        let Some(check) = &mut self.check else { return Ok((Checked::Not, Vec::new())) };
        let exit = ("CHAOS_EXIT", end.code().to_string());
        let mut ran = check.run(ground, position, vec![exit])?;
        if ran.end == End::Timeout {
            ran.said.push("the command of --check does not end".to_owned());
        }
        let checked = if ran.end == End::Code(0) { Checked::Good } else { Checked::Bad };
        Ok((checked, ran.said))
    }
}

impl Helper {
    fn run(
        &mut self,
        ground: &mut Ground,
        position: &str,
        mut variables: Vec<(&str, String)>,
    ) -> anyhow::Result<Ran> {
        variables.push(("CHAOS_POSITION", position.to_owned()));
        let ran = ground.run(Task {
            command: &self.words,
            variables: &variables,
            limit: self.limit,
            name: &format!("{position}.{}", self.flag.trim_start_matches('-')),
            fault: None,
        })?;
        self.limit.get_or_insert(allowed(ran.took));
        Ok(ran)
    }
}

/// How long something may take that took so long when no call failed.
fn allowed(took: Duration) -> Duration {
    took.saturating_mul(FACTOR).saturating_add(GRACE)
}

/// The last line that was said, to be put behind a sentence.
fn last_of(said: &[String]) -> String {
    said.last().map(|line| format!(": {}", clean(line))).unwrap_or_default()
}

/// A time for people: 250 ms, 1.50 s.
pub(super) fn seconds(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.2} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_take_longer_than_the_first() {
        assert_eq!(allowed(Duration::ZERO), Duration::from_secs(5));
        assert_eq!(allowed(Duration::from_secs(2)), Duration::from_secs(25));
        assert_eq!(allowed(Duration::MAX), Duration::MAX);
    }
}
