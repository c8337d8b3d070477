//! What a daemon says that it can do here, for `cargo xtask compat`.

use anyhow::Result;
use chaos_common::proto::v1::fault_capability::Support;
use serde::Serialize;

use super::{Stage, own_mounts};

/// In front of the answer, which is one line of JSON.
const MARK: &str = "vm-tests: capabilities ";

#[derive(Serialize)]
struct Said {
    fault: String,
    aspect: String,
    mechanism: Option<String>,
    reason: Option<String>,
    caveats: Vec<String>,
}

/// Starts a daemon, asks it, and prints what it says.
pub(crate) fn say_capabilities() -> Result<()> {
    own_mounts()?;
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let faults = daemon.client()?.capabilities()?.faults.into_iter();
    let said: Vec<Said> = faults
        .map(|one| {
            let (mechanism, reason) = match one.support {
                Some(Support::Mechanism(text)) => (Some(text), None),
                Some(Support::UnsupportedReason(text)) => (None, Some(text)),
                None => (None, None),
            };
            let (fault, aspect, caveats) = (one.fault, one.aspect, one.caveats);
            Said { fault, aspect, mechanism, reason, caveats }
        })
        .collect();
    println!("{MARK}{}", serde_json::to_string(&said)?);
    stage.finish(daemon)
}
