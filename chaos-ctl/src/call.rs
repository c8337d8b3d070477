//! What the daemon answers when it does not do what was asked for.

use std::{collections::BTreeMap, path::Path, time::Duration};

use nix::errno::Errno;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::output::{clean, path};

/// A call that the daemon answered with an error, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot {}: {}", .0.doing, .0.sentence)]
pub(crate) struct CallError(Box<Call>);

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Call {
    /// Operation and object: `recover network-loss-1`.
    doing: String,
    sentence: String,
    pub(crate) code: Code,
    /// Machine-readable: `TARGET_NOT_FOUND`.
    pub(crate) reason: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) fields: Vec<Field>,
}

/// A field that the daemon did not accept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Field {
    field: String,
    problem: String,
}

impl CallError {
    /// Reads a status and its `google.rpc` details.
    pub(crate) fn new(doing: String, status: &Status) -> Self {
        let details = status.get_error_details();
        let fields: Vec<Field> = details
            .bad_request()
            .map(|bad| &bad.field_violations)
            .into_iter()
            .flatten()
            .map(|bad| Field { field: bad.field.clone(), problem: bad.description.clone() })
            .collect();
        let info = details.error_info();
        Self(Box::new(Call {
            doing: clean(&doing).into_owned(),
            sentence: sentence(status, info.is_some(), &fields),
            code: status.code(),
            reason: info.map(|info| info.reason.clone()),
            metadata: info
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            fields,
        }))
    }

    /// A daemon that said nothing at all.
    pub(crate) fn silent(doing: String, socket: &Path, waited: Duration) -> Self {
        Self(Box::new(Call {
            doing,
            sentence: format!(
                "the daemon at {} does not answer for {} s; see its log, and `recover --all` works without it",
                path(socket),
                waited.as_secs()
            ),
            code: Code::DeadlineExceeded,
            reason: None,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
        }))
    }

    /// Its parts.
    pub(crate) fn call(&self) -> &Call {
        &self.0
    }

    /// A daemon that went away before it had answered.
    pub(crate) fn gone(doing: String, socket: &Path) -> Self {
        Self(Box::new(Call {
            doing,
            sentence: format!(
                "the daemon at {} went away; see that it runs and try again",
                path(socket)
            ),
            code: Code::Unavailable,
            reason: None,
            metadata: BTreeMap::new(),
            fields: Vec::new(),
        }))
    }

    /// Whether the daemon may or may not have done it, and is not there to ask for more.
    pub(crate) fn is_open(&self) -> bool {
        // What the daemon itself refused, it did not do.
        self.0.reason.is_none()
            && matches!(self.0.code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
    }
}

/// What to tell a person. A daemon that gave a reason has said it all; otherwise the words are those of
/// something on the way to it.
fn sentence(status: &Status, gave_reason: bool, fields: &[Field]) -> String {
    let said = status.message();
    let mut sentence = match status.code() {
        _ if gave_reason && !said.is_empty() => said.to_owned(),
        Code::Unavailable => format!(
            "the daemon is shutting down or out of reach ({said}); see that it runs and try again"
        ),
        Code::DeadlineExceeded | Code::Cancelled => {
            "the daemon did not answer in time; see its log, and try again".to_owned()
        }
        Code::Unimplemented => {
            "the daemon does not know this call; it and this client are of different versions"
                .to_owned()
        }
        Code::Unauthenticated if said.is_empty() => "the daemon does not know who asks".to_owned(),
        Code::PermissionDenied if said.is_empty() => {
            "the daemon does not allow it; ask as root".to_owned()
        }
        code @ (Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated) => {
            if said.is_empty() {
                code.description().to_lowercase()
            } else {
                said.to_owned()
            }
        }
    };
    if let Some(remedy) = remedy(&sentence) {
        sentence.push_str(remedy);
    }
    for Field { field, problem } in fields {
        if !sentence.contains(problem.as_str()) {
            sentence.push_str(&format!("; {field}: {problem}"));
        }
    }
    clean(&sentence).into_owned()
}

/// What to do about a full or read-only disk, where the daemon only passes the kernel's words on.
fn remedy(sentence: &str) -> Option<&'static str> {
    let says = |errno: Errno| sentence.contains(&format!("(os error {})", errno as i32));
    if sentence.contains("--state-dir") {
        None
    } else if says(Errno::ENOSPC) || says(Errno::EDQUOT) {
        Some(
            "; free space in the daemon's state directory, or move it with `chaos-daemon --state-dir`",
        )
    } else if says(Errno::EROFS) {
        Some(
            "; make the daemon's state directory writable, or move it with `chaos-daemon --state-dir`",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn said(message: &str) -> String {
        let details = ErrorDetails::with_bad_request_violation("duration", "5h is too long");
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        CallError::new("inject a".into(), &status).to_string()
    }

    #[test]
    fn fields_are_said_once() {
        let text = "cannot inject a: the spec is refused; duration: 5h is too long";
        assert_eq!(said("the spec is refused"), text);
        let text = "cannot inject a: duration: 5h is too long";
        assert_eq!(said("duration: 5h is too long"), text);
    }

    #[test]
    fn a_reason_of_the_daemon_s_is_passed_on_and_leaves_nothing_open() {
        for code in [Code::Unimplemented, Code::Unavailable] {
            let details = ErrorDetails::with_error_info("WHY", "chaos.v1", []);
            let status = Status::with_error_details(code, "no tc here", details);
            let error = CallError::new("inject a".into(), &status);
            assert_eq!(error.to_string(), "cannot inject a: no tc here");
            assert!(!error.is_open());
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_comes_with_what_to_do() {
        let said = |message: &str| {
            let details = ErrorDetails::with_error_info("STORAGE", "chaos.v1", []);
            let status = Status::with_error_details(Code::Internal, message, details);
            CallError::new("inject a".into(), &status).to_string()
        };
        let full = said("write /var/lib/chaos/a: No space left on device (os error 28)");
        assert!(full.contains("(os error 28); free space in"), "{full}");
        let fixed = said("write /var/lib/chaos/a: Read-only file system (os error 30)");
        assert!(fixed.contains("writable, or move it with `chaos-daemon --state-dir`"), "{fixed}");
        let own = "no space left (os error 28); free some, or move it with --state-dir";
        assert_eq!(said(own), format!("cannot inject a: {own}"));
        assert!(!said("Input/output error (os error 5)").contains("--state-dir"));
    }

    #[test]
    fn every_code_makes_a_sentence() {
        for code in 0..=16 {
            for message in ["", "no"] {
                let status = Status::new(Code::from_i32(code), message);
                let text = CallError::new("get a".into(), &status).to_string();
                assert!(text.len() > "cannot get a: ".len() && !text.ends_with(": "), "{text}");
            }
        }
    }
}
