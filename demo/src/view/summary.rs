//! The end as lines: figures, traces, verdict. Pure.

use super::paint::{Mood, Paint, grouped, share};
use crate::{phase::Phase, residue::Traces, stats::Figures, verdict::Facts};

/// All lines.
pub(super) fn lines(facts: &Facts, complaints: &[String], paint: &Paint) -> Vec<String> {
    let mut lines = vec![String::new()];
    lines.extend(figures(facts, paint));
    lines.extend(traces(facts, paint));
    lines.push(String::new());
    if complaints.is_empty() {
        lines.push(pass(facts, paint));
    }
    let failed = paint.loud(Mood::Bad, "FAIL");
    lines.extend(complaints.iter().map(|complaint| format!("{failed}  {complaint}")));
    lines
}

fn figures(facts: &Facts, paint: &Paint) -> Vec<String> {
    let group = |name: &str| format!("  ├ {name} {}", "─".repeat(22 - name.len()));
    let head = format!("{:>17}{}{}", "requests", group("A target"), group("B bystander"));
    let columns = format!("{:>9}{:>9}{:>9}", "answered", "p50", "p99");
    let mut lines = vec![paint.bold(&head), paint.dim(&format!("{:>17}{columns}{columns}", ""))];
    for phase in Phase::ALL {
        let count = facts.figures(0, phase).map_or(0, |figures| figures.requests);
        let mut line = format!("{:<9}{:>8}", phase.name(), grouped(count as u64));
        for pair in [0, 1] {
            line += &facts
                .figures(pair, phase)
                .map_or_else(|| format!("{:>27}", "none"), |f| cells(&f, paint));
        }
        lines.push(line);
    }
    lines
}

fn cells(figures: &Figures, paint: &Paint) -> String {
    let percent = figures.answered_percent();
    let answered = paint.mood(Mood::of_answered(percent), &format!("{:>9}", share(percent)));
    let latency = [figures.p50, figures.p99]
        .map(|latency| paint.mood(Mood::of_latency(latency), &format!("{latency:>9}")));
    answered + &latency.concat()
}

/// What was there under the fault and what is there now.
fn traces(facts: &Facts, paint: &Paint) -> Vec<String> {
    let [under, now] = facts.traces;
    let names: String = under.all().iter().map(|(name, _)| format!(" {name}")).collect();
    let row = |traces: &Traces| -> Vec<(usize, String)> {
        traces
            .all()
            .iter()
            .map(|(name, count)| (*count, format!("{count:>width$}", width = name.len() + 1)))
            .collect()
    };
    let under: String = row(&under).into_iter().map(|(_, cell)| paint.dim(&cell)).collect();
    let mood = |count| if count == 0 { Mood::Good } else { Mood::Bad };
    let now: String =
        row(&now).into_iter().map(|(count, cell)| paint.mood(mood(count), &cell)).collect();
    vec![
        format!("{}{}", paint.bold(&format!("{:<9}", "traces")), paint.dim(&names)),
        format!("{:<9}{under}", "during"),
        format!("{:<9}{now}", "now"),
    ]
}

fn pass(facts: &Facts, paint: &Paint) -> String {
    let pass = paint.loud(Mood::Good, "PASS");
    format!("{pass}  the fault hit A alone and ended by itself: {}", left(&facts.traces[1]))
}

/// In words.
pub(super) fn left(traces: &Traces) -> String {
    let others: String = traces.all()[3..]
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}, "))
        .collect();
    let Traces { pins, links, files, .. } = traces;
    format!("{others}{pins} pins, {links} links, {files} files left")
}
