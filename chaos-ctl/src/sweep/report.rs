//! What a sweep has found, for people and for programs.

use std::{collections::BTreeMap, time::Duration};

use anstyle::Style;
use chaos_common::fault::Fault;
use serde::Serialize;

use super::{
    ground::Call,
    series::seconds,
    verdict::{Checked, End, Process, Verdict, signal_name},
};
use crate::{
    app::App,
    output::{Cell, Column, Format, Table, Written, clean, colour},
};

/// Characters of the last words in a table that is not wide.
const WORDS_WIDTH: usize = 60;

/// The command when no call fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Baseline {
    /// Its exit code.
    pub(super) end: i32,
    /// How many calls match.
    pub(super) calls: u64,
    pub(super) took: Duration,
    /// How long a run may take.
    pub(super) limit: Duration,
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) position: u64,
    pub(super) verdict: Verdict,
    pub(super) end: End,
    pub(super) process: Process,
    pub(super) took: Duration,
    pub(super) call: Option<Call>,
    pub(super) checked: Checked,
    /// What the check said.
    pub(super) found: Vec<String>,
    /// What the command said.
    pub(super) said: Vec<String>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) fault: Fault,
    /// What of it the node cannot do, and why.
    pub(super) left_out: String,
    pub(super) pid: Option<u32>,
    pub(super) has_check: bool,
    pub(super) baseline: Baseline,
    pub(super) rows: Vec<Row>,
    /// Where to go on, if there is more.
    pub(super) next: Option<u64>,
}

impl Report {
    /// Whether somebody should look at something.
    pub(super) fn has_found(&self) -> bool {
        self.rows.iter().any(|row| row.verdict.is_found())
    }

    /// Writes it.
    pub(super) fn show(&self, app: &mut App) -> Written {
        let format = app.out.format();
        app.out.object(&View::from(self), |out| {
            if self.rows.is_empty() {
                return Ok(());
            }
            out.table(&self.table(format))?;
            out.line("")?;
            out.line(self.summary())?;
            match self.next {
                Some(next) => {
                    out.line(format_args!("not tried: {next} and above; --sweep={next}.. goes on"))
                }
                None => Ok(()),
            }
        })
    }

    fn table(&self, format: Format) -> Table {
        let mut columns =
            vec![Column::number("CALL"), Column::text("VERDICT"), Column::text("ENDED")];
        if self.has_check {
            columns.push(Column::text("CHECK"));
        }
        columns.extend([
            Column::text("FAILED"),
            Column::text("BY"),
            Column::number("TOOK"),
            Column::text("LAST WORDS"),
        ]);
        let mut table = Table::new(columns);
        let is_wide = format == Format::Wide;
        let mut rows = self.rows.iter().peekable();
        while let Some(first) = rows.next() {
            let (mut last, mut took) = (first, first.took);
            while let Some(next) = rows.next_if(|next| !is_wide && next.is_like(first)) {
                (last, took) = (next, took.max(next.took));
            }
            table.push(self.row(first, last, took, format));
        }
        table
    }

    /// Some rows that are alike.
    fn row(&self, first: &Row, last: &Row, took: Duration, format: Format) -> Vec<Cell> {
        let positions = if first.position == last.position {
            first.position.to_string()
        } else {
            format!("{}..{}", first.position, last.position)
        };
        let mut cells = vec![
            positions.into(),
            Cell::styled(first.verdict.word(), style(first.verdict)),
            first.ended().into(),
        ];
        if self.has_check {
            cells.push(match first.checked {
                Checked::Not => "".into(),
                Checked::Good => "good".into(),
                Checked::Bad => Cell::styled("failed", colour::BAD),
            });
        }
        let call = first.call.as_ref();
        let words = first.last_words().unwrap_or_default();
        cells.extend([
            call.map(|call| format!("{} {}", call.name, call.errno)).unwrap_or_default().into(),
            call.and_then(|call| call.process.as_ref())
                .map(|(_, name)| name.clone())
                .unwrap_or_default()
                .into(),
            seconds(took).into(),
            match format {
                Format::Wide => words.to_owned().into(),
                Format::Table | Format::Json | Format::Yaml => shortened(words).into(),
            },
        ]);
        cells
    }

    /// `5 runs: 3 ok, 1 failed, 1 hang`.
    fn summary(&self) -> String {
        let counted = self.counts();
        let parts: Vec<String> = Verdict::ALL
            .into_iter()
            .filter_map(|verdict| Some(format!("{} {}", counted.get(&verdict)?, verdict.word())))
            .collect();
        let all = self.rows.len();
        format!("{all} {}: {}", if all == 1 { "run" } else { "runs" }, parts.join(", "))
    }

    fn counts(&self) -> BTreeMap<Verdict, u64> {
        let mut counts = BTreeMap::new();
        for row in &self.rows {
            *counts.entry(row.verdict).or_default() += 1;
        }
        counts
    }
}

impl Row {
    /// What the command said last, or the check, where that is why.
    fn last_words(&self) -> Option<&str> {
        let of_check = if self.checked == Checked::Bad { self.found.last() } else { None };
        of_check.or(self.said.last()).map(String::as_str)
    }

    fn ended(&self) -> String {
        match self.process {
            Process::Fine => self.end.to_string(),
            Process::Gone => format!("{}, process gone", self.end),
        }
    }

    /// Whether it was not hit and ended otherwise all the same.
    pub(super) fn is_odd(&self, baseline: i32) -> bool {
        self.verdict == Verdict::NotReached
            && (self.end != End::Code(baseline)
                || self.checked == Checked::Bad
                || self.process == Process::Gone)
    }

    /// Whether a table need not tell them apart.
    fn is_like(&self, other: &Self) -> bool {
        let key = |row: &Self| {
            let name = row.call.as_ref().map(|call| call.name);
            (row.verdict, row.end, row.process, row.checked, name)
        };
        let who = |row: &Self| {
            row.call.as_ref().and_then(|call| call.process.as_ref()).map(|(_, name)| name.clone())
        };
        !self.verdict.is_found()
            && key(self) == key(other)
            && who(self) == who(other)
            && self.last_words() == other.last_words()
    }

    /// For those who wait.
    pub(super) fn sentence(&self) -> String {
        let Self { position, verdict, call, .. } = self;
        let call = call.as_ref().map(|call| format!(" ({} {})", call.name, call.errno));
        let words = self.last_words().map(|words| format!(": {}", shortened(&clean(words))));
        let (call, words) = (call.unwrap_or_default(), words.unwrap_or_default());
        format!("call {position}{call}: {}, {}{words}", verdict.word(), self.ended())
    }
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Ok => colour::GOOD,
        Verdict::Failed => colour::PLAIN,
        Verdict::Crash | Verdict::Hang | Verdict::DataLost | Verdict::WrongExit => colour::BAD,
        Verdict::NotReached => colour::DIM,
    }
}

fn shortened(words: &str) -> String {
    let mut short: String = words.chars().take(WORDS_WIDTH).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    short
}

/// As a program reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    fault: &'a Fault,
    #[serde(skip_serializing_if = "str::is_empty")]
    left_out: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    baseline: BaselineView,
    timeout_seconds: f64,
    counts: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    runs: Vec<RowView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BaselineView {
    exit_code: i32,
    calls: u64,
    seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RowView<'a> {
    position: u64,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    timed_out: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    process_gone: bool,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<CheckView<'a>>,
    said: &'a [String],
}

#[derive(Serialize)]
struct CallView<'a> {
    name: &'a str,
    errno: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessView<'a>>,
}

#[derive(Serialize)]
struct ProcessView<'a> {
    pid: u32,
    comm: &'a str,
}

#[derive(Serialize)]
struct CheckView<'a> {
    passed: bool,
    said: &'a [String],
}

/// To the millisecond.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

impl<'a> From<&'a Report> for View<'a> {
    fn from(report: &'a Report) -> Self {
        let Baseline { end, calls, took, limit } = report.baseline;
        let counts = report.counts();
        Self {
            fault: &report.fault,
            left_out: &report.left_out,
            pid: report.pid,
            baseline: BaselineView { exit_code: end, calls, seconds: rounded(took) },
            timeout_seconds: rounded(limit),
            counts: counts.into_iter().map(|(verdict, count)| (verdict.name(), count)).collect(),
            next: report.next,
            runs: report.rows.iter().map(RowView::from).collect(),
        }
    }
}

impl<'a> From<&'a Row> for RowView<'a> {
    fn from(row: &'a Row) -> Self {
        let (exit_code, signal, timed_out) = match row.end {
            End::Code(code) => (Some(code), None, false),
            End::Signal(signal) => (None, Some(signal_name(signal)), false),
            End::Timeout => (None, None, true),
        };
        let check = |passed| Some(CheckView { passed, said: &row.found });
        Self {
            position: row.position,
            verdict: row.verdict.name(),
            exit_code,
            signal,
            timed_out,
            process_gone: row.process == Process::Gone,
            seconds: rounded(row.took),
            call: row.call.as_ref().map(|call| CallView {
                name: call.name,
                errno: &call.errno,
                process: call.process.as_ref().map(|(pid, comm)| ProcessView { pid: *pid, comm }),
            }),
            check: match row.checked {
                Checked::Not => None,
                Checked::Good => check(true),
                Checked::Bad => check(false),
            },
            said: &row.said,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(position: u64, verdict: Verdict, end: End) -> Row {
        let process = Some((40 + position as u32, "cp".to_owned()));
        let call = Call { name: "write", errno: "EIO".into(), process };
        Row {
            position,
            verdict,
            end,
            process: Process::Fine,
            took: Duration::from_millis(10 * position),
            call: (verdict != Verdict::NotReached).then_some(call),
            checked: Checked::Good,
            found: Vec::new(),
            said: Vec::new(),
        }
    }

    fn report() -> Report {
        let mut lost = row(5, Verdict::DataLost, End::Code(0));
        (lost.checked, lost.found) = (Checked::Bad, vec!["a and b differ".into()]);
        let mut failed = row(6, Verdict::Failed, End::Code(1));
        failed.said = vec!["usage".into(), "x".repeat(70)];
        let mut unknown = row(7, Verdict::Ok, End::Code(0));
        unknown.call = None;
        Report {
            fault: serde_json::from_str(
                r#"{"syscallError": {"calls": ["write"], "errno": "EIO"}}"#,
            )
            .unwrap(),
            left_out: String::new(),
            pid: None,
            has_check: true,
            baseline: Baseline {
                end: 0,
                calls: 12,
                took: Duration::from_millis(2500),
                limit: Duration::from_secs(30),
            },
            rows: vec![
                row(1, Verdict::Ok, End::Code(0)),
                row(2, Verdict::Ok, End::Code(0)),
                row(3, Verdict::Crash, End::Signal(11)),
                row(4, Verdict::Crash, End::Signal(11)),
                lost,
                failed,
                unknown,
                row(200, Verdict::Hang, End::Timeout),
                row(201, Verdict::NotReached, End::Code(0)),
                row(202, Verdict::NotReached, End::Code(0)),
            ],
            next: Some(203),
        }
    }

    #[test]
    fn what_is_alike_is_one_row_unless_it_was_found() {
        let words = "x".repeat(60);
        assert_eq!(
            report().table(Format::Table).text(),
            format!(
                "    CALL   VERDICT       ENDED     CHECK    FAILED      BY     TOOK   LAST WORDS
    1..2   ok            exit 0    good     write EIO   cp    20 ms   -
       3   crash         SIGSEGV   good     write EIO   cp    30 ms   -
       4   crash         SIGSEGV   good     write EIO   cp    40 ms   -
       5   data lost     exit 0    failed   write EIO   cp    50 ms   a and b differ
       6   failed        exit 1    good     write EIO   cp    60 ms   {words}…
       7   ok            exit 0    good     -           -     70 ms   -
     200   hang          no end    good     write EIO   cp   2.00 s   -
201..202   not reached   exit 0    good     -           -    2.02 s   -
"
            )
        );
        let wide = report().table(Format::Wide).text();
        assert!(wide.lines().count() == 11 && wide.contains(&"x".repeat(70)), "{wide}");
    }

    #[test]
    fn a_summary_counts_in_the_order_of_verdicts() {
        assert_eq!(
            report().summary(),
            "10 runs: 3 ok, 1 failed, 2 crash, 1 hang, 1 data lost, 2 not reached"
        );
        assert!(report().has_found());
        let rows = vec![row(1, Verdict::Failed, End::Code(1))];
        let fine = Report { rows, ..report() };
        assert_eq!((fine.summary().as_str(), fine.has_found()), ("1 run: 1 failed", false));
    }

    #[test]
    fn a_program_reads_all_of_it() {
        let json = serde_json::to_value(View::from(&report())).unwrap();
        assert_eq!(
            json["baseline"],
            serde_json::json!({"exitCode": 0, "calls": 12, "seconds": 2.5})
        );
        assert_eq!(json["fault"]["syscallError"]["errno"], "EIO");
        assert_eq!((&json["timeoutSeconds"], &json["next"]), (&30.0.into(), &203.into()));
        let counts = serde_json::json!({
            "ok": 3, "failed": 1, "crash": 2, "hang": 1, "dataLost": 1, "notReached": 2,
        });
        assert_eq!(json["counts"], counts);
        assert_eq!(
            json["runs"][4],
            serde_json::json!({
                "position": 5,
                "verdict": "dataLost",
                "exitCode": 0,
                "seconds": 0.05,
                "call": {"name": "write", "errno": "EIO", "process": {"pid": 45, "comm": "cp"}},
                "check": {"passed": false, "said": ["a and b differ"]},
                "said": [],
            })
        );
        assert_eq!(
            (&json["runs"][2]["signal"], &json["runs"][7]["timedOut"]),
            (&"SIGSEGV".into(), &true.into())
        );
    }

    #[test]
    fn those_who_wait_hear_what_is_found() {
        let report = report();
        assert_eq!(report.rows[2].sentence(), "call 3 (write EIO): crash, SIGSEGV");
        assert_eq!(
            report.rows[4].sentence(),
            "call 5 (write EIO): data lost, exit 0: a and b differ"
        );
        let mut odd = row(9, Verdict::NotReached, End::Signal(6));
        assert!(odd.is_odd(0) && !report.rows[8].is_odd(0));
        odd.process = Process::Gone;
        assert_eq!(odd.sentence(), "call 9: not reached, SIGABRT, process gone");
    }
}
