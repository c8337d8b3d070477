//! What a node can do.

use chaos_common::proto::v1::{CapabilitiesResponse, FaultCapability, fault_capability::Support};
use serde::Serialize;

use super::{Cell, Column, Table, colour};

/// The report as a program reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View<'a> {
    kernel_release: &'a str,
    daemon_version: &'a str,
    client_version: &'static str,
    faults: Vec<FaultView<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultView<'a> {
    fault: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aspect: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mechanism: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsupported_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    caveats: &'a [String],
}

/// What the daemon sends when it gives neither a mechanism nor a reason.
const NO_REASON: &str = "the daemon gives no reason";

impl<'a> From<&'a CapabilitiesResponse> for View<'a> {
    fn from(report: &'a CapabilitiesResponse) -> Self {
        Self {
            kernel_release: &report.kernel_release,
            daemon_version: &report.daemon_version,
            client_version: env!("CARGO_PKG_VERSION"),
            faults: report.faults.iter().map(FaultView::from).collect(),
        }
    }
}

impl<'a> From<&'a FaultCapability> for FaultView<'a> {
    fn from(fault: &'a FaultCapability) -> Self {
        let (mechanism, unsupported_reason) = match &fault.support {
            Some(Support::Mechanism(mechanism)) => (Some(mechanism.as_str()), None),
            Some(Support::UnsupportedReason(reason)) => (None, Some(reason.as_str())),
            None => (None, Some(NO_REASON)),
        };
        let FaultCapability { fault, aspect, caveats, .. } = fault;
        Self { fault, aspect, mechanism, unsupported_reason, caveats }
    }
}

/// The report as a table, and notes to it: what is said of several rows is said once.
pub(crate) fn table(report: &CapabilitiesResponse) -> (Table, Vec<&str>) {
    let mut notes: Vec<&str> = Vec::new();
    let mut note = |caveat| {
        let known = notes.iter().position(|known| *known == caveat);
        known.unwrap_or_else(|| {
            notes.push(caveat);
            notes.len() - 1
        }) + 1
    };
    let mut table =
        Table::new(vec![Column::text("FAULT"), Column::text("ASPECT"), Column::text("HOW")]);
    for fault in &report.faults {
        let how = match &fault.support {
            Some(Support::Mechanism(mechanism)) if fault.caveats.is_empty() => {
                Cell::styled(mechanism, colour::GOOD)
            }
            Some(Support::Mechanism(mechanism)) => {
                let numbers = fault.caveats.iter().map(|caveat| format!(" [{}]", note(caveat)));
                Cell::styled(format!("{mechanism}{}", numbers.collect::<String>()), colour::SOME)
            }
            Some(Support::UnsupportedReason(reason)) => {
                Cell::styled(format!("unsupported: {reason}"), colour::BAD)
            }
            None => Cell::styled(format!("unsupported: {NO_REASON}"), colour::BAD),
        };
        table.push(vec![fault.fault.as_str().into(), fault.aspect.as_str().into(), how]);
    }
    (table, notes)
}
