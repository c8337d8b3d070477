//! Who changed what, in one append-only file of JSON lines.

use std::{fs::File, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use chaos_common::{
    injection::End,
    spec::{InjectionId, Spec},
};

use super::error::StorageError;

/// The audit log of one state directory.
#[derive(Debug)]
pub(super) struct Audit {
    file: File,
}

/// One change.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase", tag = "action")]
pub(super) enum Action<'a> {
    Inject {
        id: &'a InjectionId,
        spec: &'a Spec,
        cgroup: &'a str,
        #[serde(rename = "connectionsReset", skip_serializing_if = "Option::is_none")]
        connections_reset: Option<u64>,
    },
    Refuse {
        spec: &'a Spec,
        reason: &'a str,
    },
    Renew {
        id: &'a InjectionId,
        until: String,
    },
    Adopt {
        id: &'a InjectionId,
    },
    End {
        id: &'a InjectionId,
        why: End,
        fired: u64,
    },
    Stuck {
        id: &'a InjectionId,
        reason: &'a str,
    },
    RecoverAll,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: jiff::Timestamp,
    who: &'a str,
    #[serde(flatten)]
    action: Action<'a>,
}

impl Audit {
    pub(super) fn open(state_dir: &Path) -> Result<Self, StorageError> {
        let path = state_dir.join("audit.log");
        let file = File::options()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(StorageError::at("open", &path))?;
        Ok(Self { file })
    }

    /// Appends one line. A failure is logged; it does not stop the change, since the most important one
    /// is to end a fault, also on a full disk.
    pub(super) fn log(&mut self, who: &str, action: Action<'_>) {
        let line = Line { time: jiff::Timestamp::now(), who, action };
        let written = serde_json::to_string(&line)
            .map_err(std::io::Error::from)
            .and_then(|text| self.file.write_all(format!("{text}\n").as_bytes()));
        if let Err(error) = written {
            tracing::error!(%error, "could not write the audit log");
        }
    }
}
