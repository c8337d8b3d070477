//! Cgroups that can be aimed at.

use chaos_common::proto::v1::{SocketCount, TargetInfo, TargetKind};
use serde::Serialize;

use super::{Cell, Column, Table, colour, injection::Detail};

/// A target as a program reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    runtime: &'a str,
    cgroup: &'a str,
    cgroup_id: u64,
    pids: &'a [u32],
    #[serde(skip_serializing_if = "str::is_empty")]
    protected_reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sockets: Option<Sockets>,
}

#[derive(Serialize)]
struct Sockets {
    held: u32,
    foreign: u32,
}

impl<'a> From<&'a TargetInfo> for View<'a> {
    fn from(target: &'a TargetInfo) -> Self {
        Self {
            kind: kind(target),
            name: &target.name,
            runtime: &target.runtime,
            cgroup: &target.cgroup,
            cgroup_id: target.cgroup_id,
            pids: &target.pids,
            protected_reason: &target.protected_reason,
            sockets: target.sockets.map(|SocketCount { held, foreign }| Sockets { held, foreign }),
        }
    }
}

fn kind(target: &TargetInfo) -> &'static str {
    match TargetKind::try_from(target.kind) {
        Ok(TargetKind::Unit) => "unit",
        Ok(TargetKind::Container) => "container",
        Ok(TargetKind::Pod) => "pod",
        Ok(TargetKind::Cgroup) => "cgroup",
        Ok(TargetKind::Unspecified) | Err(_) => "unknown",
    }
}

/// Processes named in a table that is not wide.
const PIDS: usize = 4;
/// Digits of a container id in a table that is not wide; they are accepted as --container.
const DIGITS: usize = 12;

/// A table of targets.
pub(crate) fn table(targets: &[TargetInfo], detail: Detail) -> Table {
    let sockets = targets.iter().any(|target| target.sockets.is_some());
    let mut columns = vec![Column::text("KIND"), Column::text("NAME"), Column::text("RUNTIME")];
    if sockets {
        columns.extend([Column::number("SOCKETS"), Column::number("FOREIGN")]);
    }
    columns.extend([Column::text("PIDS"), Column::text("PROTECTED")]);
    if detail == Detail::Wide {
        columns.extend([Column::number("CGROUP-ID"), Column::text("CGROUP")]);
    }
    let mut table = Table::new(columns);
    for target in targets {
        let mut row =
            vec![kind(target).into(), name(target, detail).into(), target.runtime.as_str().into()];
        if sockets {
            let count =
                |of: fn(SocketCount) -> u32| target.sockets.map(|sockets| of(sockets).to_string());
            row.push(count(|sockets| sockets.held).unwrap_or_default().into());
            row.push(count(|sockets| sockets.foreign).unwrap_or_default().into());
        }
        row.push(pids(&target.pids, detail).into());
        row.push(Cell::styled(target.protected_reason.as_str(), colour::SOME));
        if detail == Detail::Wide {
            row.push(target.cgroup_id.to_string().into());
            row.push(target.cgroup.as_str().into());
        }
        table.push(row);
    }
    table
}

fn name(target: &TargetInfo, detail: Detail) -> &str {
    let is_container = target.kind == i32::from(TargetKind::Container);
    match detail {
        Detail::Normal if is_container => target.name.get(..DIGITS).unwrap_or(&target.name),
        Detail::Normal | Detail::Wide if target.name.is_empty() => &target.cgroup,
        Detail::Normal | Detail::Wide => &target.name,
    }
}

fn pids(pids: &[u32], detail: Detail) -> String {
    let shown = match detail {
        Detail::Normal => PIDS.min(pids.len()),
        Detail::Wide => pids.len(),
    };
    let mut words: Vec<String> = pids[..shown].iter().map(u32::to_string).collect();
    if shown < pids.len() {
        words.push(format!("+{}", pids.len() - shown));
    }
    words.join(" ")
}

/// What foreign sockets mean, if there are any.
pub(crate) fn foreign_note(targets: &[TargetInfo]) -> Option<String> {
    let foreign: u64 = targets
        .iter()
        .filter_map(|target| target.sockets)
        .map(|sockets| u64::from(sockets.foreign))
        .sum();
    (foreign > 0).then(|| {
        format!(
            "{foreign} foreign: sockets keep the cgroup in which they were made, so a network fault on \
             the cgroup that holds them now does not hit them; restart the process there, or aim at the \
             cgroup in which it was started"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_processes_are_counted() {
        assert_eq!(pids(&[1, 2, 3, 4, 5, 6], Detail::Normal), "1 2 3 4 +2");
        assert_eq!(pids(&[1, 2, 3, 4, 5, 6], Detail::Wide), "1 2 3 4 5 6");
        assert_eq!(pids(&[], Detail::Normal), "");
    }

    #[test]
    fn a_short_container_id_is_one_that_is_accepted() {
        let id = "0123456789abcdef".repeat(4);
        let target =
            TargetInfo { name: id, kind: TargetKind::Container.into(), ..Default::default() };
        let short = name(&target, Detail::Normal);
        assert!(short.parse::<chaos_common::target::ContainerId>().is_ok(), "{short}");
    }
}
