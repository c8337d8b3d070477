//! Injections.

use std::time::SystemTime;

use anstyle::Style;
use chaos_common::{
    abi::RuleStats,
    injection::{Injection, State},
    invalid::Invalid,
    proto::v1,
    spec::Spec,
};
use serde::Serialize;

use super::{Cell, Column, Out, Written, ago, ahead, clean, colour, left, moment};

/// An injection from a list: a daemon newer than this client may run faults that the client does not
/// know, and they must not hide the others.
#[derive(Debug)]
pub(crate) enum Listed {
    Known(Box<Injection>),
    Unknown { id: String, problem: Invalid },
}

impl From<v1::Injection> for Listed {
    fn from(wire: v1::Injection) -> Self {
        let id = wire.id.clone();
        match Injection::try_from(wire) {
            Ok(injection) => Self::Known(Box::new(injection)),
            Err(problem) => Self::Unknown { id, problem },
        }
    }
}

impl Listed {
    /// As a program reads it.
    pub(crate) fn view(&self) -> ListedView<'_> {
        match self {
            Self::Known(injection) => ListedView::Known(Box::new(injection.as_ref().into())),
            Self::Unknown { id, problem } => {
                ListedView::Unknown { id, problem: problem.to_string() }
            }
        }
    }
}

/// Serialises as whichever it is.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum ListedView<'a> {
    Known(Box<View<'a>>),
    Unknown { id: &'a str, problem: String },
}

/// An injection as a program reads it: the interface's message with the spec as in a file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View<'a> {
    id: &'a str,
    spec: &'a Spec,
    cgroup: &'a str,
    cgroup_id: u64,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    created_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    counters: Counters,
    requested_by: &'a str,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_reset: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counters {
    matched: u64,
    fired: u64,
    past_deadline: u64,
    past_lease: u64,
    over_budget: u64,
    spared: u64,
}

impl From<RuleStats> for Counters {
    fn from(stats: RuleStats) -> Self {
        let RuleStats { matched, fired, past_deadline, past_lease, over_budget, spared } = stats;
        Self { matched, fired, past_deadline, past_lease, over_budget, spared }
    }
}

impl<'a> From<&'a Injection> for View<'a> {
    fn from(injection: &'a Injection) -> Self {
        let (state, end) = match injection.state {
            State::Applying | State::Active | State::Recovering => (injection.state.word(), None),
            State::Stuck(end) => ("stuck", Some(end.word())),
            State::Ended(end) => ("ended", Some(end.word())),
        };
        Self {
            id: injection.id.as_str(),
            spec: &injection.spec,
            cgroup: injection.cgroup.as_str(),
            cgroup_id: injection.cgroup_id,
            state,
            end,
            message: &injection.message,
            created_at: moment(injection.created_at),
            expires_at: moment(injection.expires_at),
            ended_at: injection.ended_at.map(moment),
            counters: injection.counters.into(),
            requested_by: &injection.requested_by,
            seed: injection.seed,
            connections_reset: injection.connections_reset,
        }
    }
}

fn style(state: State) -> Style {
    match state {
        State::Active => colour::GOOD,
        State::Applying | State::Recovering => colour::SOME,
        State::Stuck(_) => colour::BAD,
        State::Ended(_) => colour::DIM,
    }
}

/// How much a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    Normal,
    Wide,
}

/// Characters of a fault's description in a table that is not wide.
const FAULT_WIDTH: usize = 40;

/// Columns of a list.
pub(crate) fn columns(detail: Detail) -> Vec<Column> {
    let mut columns = vec![
        Column::text("ID"),
        Column::text("FAULT"),
        Column::text("TARGET"),
        Column::text("STATE"),
        Column::number("LEFT"),
        Column::number("MATCHED"),
        Column::number("FIRED"),
    ];
    if detail == Detail::Wide {
        columns.extend([
            Column::number("SPARED"),
            Column::number("OVER-BUDGET"),
            Column::number("PAST-DEADLINE"),
            Column::number("PAST-LEASE"),
            Column::text("REQUESTED-BY"),
            Column::text("CGROUP"),
            Column::text("BECAUSE"),
        ]);
    }
    columns
}

/// A row of a list.
pub(crate) fn row(listed: &Listed, detail: Detail, now: SystemTime) -> Vec<Cell> {
    let injection = match listed {
        Listed::Known(injection) => injection,
        Listed::Unknown { id, problem } => {
            let mut row = vec![id.as_str().into(), format!("? {problem}").into()];
            row.resize_with(columns(detail).len(), || Cell::new(""));
            return row;
        }
    };
    let fault = injection.spec.fault.to_string();
    let left =
        if injection.state.is_live() { left(injection.expires_at, now) } else { String::new() };
    let stats = injection.counters;
    let mut row = vec![
        injection.id.as_str().into(),
        match detail {
            Detail::Normal => shortened(fault, FAULT_WIDTH).into(),
            Detail::Wide => fault.into(),
        },
        injection.spec.target.to_string().into(),
        Cell::styled(injection.state.word(), style(injection.state)),
        left.into(),
        stats.matched.to_string().into(),
        stats.fired.to_string().into(),
    ];
    if detail == Detail::Wide {
        row.extend([
            stats.spared.to_string().into(),
            stats.over_budget.to_string().into(),
            stats.past_deadline.to_string().into(),
            stats.past_lease.to_string().into(),
            injection.requested_by.as_str().into(),
            injection.cgroup.as_str().into(),
            injection.because().into(),
        ]);
    }
    row
}

fn shortened(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        let cut = text.char_indices().nth(most - 1).map_or(end, |(at, _)| at);
        text.truncate(cut);
        text.push('…');
    }
    text
}

/// Writes one injection as a block of lines.
pub(crate) fn block(out: &mut Out, injection: &Injection, now: SystemTime) -> Written {
    let Injection {
        id,
        spec,
        cgroup,
        cgroup_id,
        state,
        message: _,
        seed,
        created_at,
        expires_at,
        ended_at,
        counters,
        connections_reset,
        requested_by,
    } = injection;
    let mut line = |name: &str, value: &str| out.line(format_args!("{name:<14}{}", clean(value)));
    line("id", id.as_str())?;
    line("fault", &spec.fault.to_string())?;
    line("target", &spec.target.to_string())?;
    line("cgroup", &format!("{cgroup} (id {cgroup_id})"))?;
    line(
        "state",
        &match state {
            State::Stuck(end) => format!("stuck ({})", end.word()),
            State::Applying | State::Active | State::Recovering | State::Ended(_) => {
                state.word().to_owned()
            }
        },
    )?;
    if !injection.because().is_empty() {
        let name = if matches!(state, State::Active) { "left out" } else { "because" };
        line(name, injection.because())?;
    }
    line("began", &format!("{} ({})", moment(*created_at), ago(*created_at, now)))?;
    let (name, end) = match ended_at {
        Some(at) => ("ended", format!("{} ({})", moment(*at), ago(*at, now))),
        None => ("ends", format!("{} ({})", moment(*expires_at), ahead(*expires_at, now))),
    };
    line(name, &end)?;
    line("duration", &spec.duration.to_string())?;
    if let Some(times) = spec.times {
        line("times", &format!("at most {}", times.get()))?;
    }
    let has_events = spec.fault.has_events();
    if has_events {
        line("seed", &seed.to_string())?;
    }
    line("requested by", requested_by)?;
    if let Some(count) = connections_reset {
        line("reset at once", &format!("{count:<10} connections that were open when it began"))?;
    }
    if !has_events {
        return Ok(());
    }
    let RuleStats { matched, fired, past_deadline, past_lease, over_budget, spared } = *counters;
    for (name, count, meaning) in [
        ("matched", matched, "passed the fault's conditions"),
        ("fired", fired, "the fault happened"),
        ("spared", spared, "let through: the dice said no"),
        ("over budget", over_budget, "let through: it had fired as often as it may"),
        ("past deadline", past_deadline, "let through: its time was over"),
        ("past lease", past_lease, "let through: the daemon had stopped renewing its lease"),
    ] {
        line(name, &format!("{count:<10} {meaning}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_faults_are_cut_between_characters() {
        assert_eq!(shortened("abc".into(), 3), "abc");
        assert_eq!(shortened("abcd".into(), 3), "ab…");
        assert_eq!(shortened("ééé%".into(), 2), "é…");
    }

    #[test]
    fn a_fault_from_the_future_still_has_a_row_and_a_view() {
        let listed = Listed::from(v1::Injection { id: "a".into(), ..Default::default() });
        assert_eq!(
            row(&listed, Detail::Wide, SystemTime::now()).len(),
            columns(Detail::Wide).len()
        );
        let json = serde_json::to_value(listed.view()).unwrap();
        assert_eq!(json["id"], "a");
        assert!(json["problem"].as_str().is_some_and(|problem| problem.contains("does not know")));
    }
}
