//! What went wrong, for people and for programs.

use std::{collections::BTreeMap, fmt, io::Write as _, process::ExitCode};

use anstyle::Style;
use chaos_common::invalid::causes;
use serde::Serialize;
use tonic::Code;

use crate::{
    call::{Call, CallError, Field},
    outcome::Outcome,
    output::{Format, Unwritten, clean, colour},
};

/// The request itself is wrong, and nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

impl Usage {
    /// What is wrong and what to do.
    pub(crate) fn of(problem: impl fmt::Display) -> Self {
        Self(problem.to_string())
    }
}

/// An error of the command line that clap itself does not find.
pub(crate) fn refuse(kind: clap::error::ErrorKind, problem: impl fmt::Display) -> clap::Error {
    clap::Error::raw(kind, format!("{problem}\n"))
}

/// An error as a program reads it.
#[derive(Serialize)]
struct View<'a> {
    error: Body<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    message: String,
    /// Name of the gRPC status code; absent when the daemon was not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    fields: &'a [Field],
}

fn view(error: &anyhow::Error) -> View<'_> {
    let call: Option<&Call> = error.downcast_ref::<CallError>().map(CallError::call);
    View {
        error: Body {
            message: sentence_of(error),
            code: call.map(|call| format!("{:?}", call.code)),
            reason: call.and_then(|call| call.reason.as_deref()),
            metadata: call.map(|call| &call.metadata).filter(|metadata| !metadata.is_empty()),
            fields: call.map(|call| call.fields.as_slice()).unwrap_or_default(),
        },
    }
}

/// Lines stay lines: the kernel's verifier says many.
fn sentence_of(error: &anyhow::Error) -> String {
    let text = causes(error.as_ref());
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// A remark as a program reads it.
#[derive(Serialize)]
struct NoteView<'a> {
    note: Note<'a>,
}

#[derive(Serialize)]
struct Note<'a> {
    message: &'a str,
}

/// Writes an error to standard error in the format of the output: a sentence, or one object.
pub(crate) fn show(error: &anyhow::Error, format: Format) {
    write("error:", colour::BAD, &sentence_of(error), &view(error), format);
}

/// Writes a remark to standard error in the format of the output: a sentence, or one object.
pub(crate) fn note(text: impl fmt::Display, format: Format) {
    let message = &*text.to_string();
    write("note:", colour::HEAD, &clean(message), &NoteView { note: Note { message } }, format);
}

/// What cannot be written is lost: there is no other place.
fn write(head: &str, style: Style, sentence: &str, view: &impl Serialize, format: Format) {
    let mut stderr = anstream::stderr().lock();
    let object = match format {
        Format::Table | Format::Wide => None,
        Format::Json => serde_json::to_string(view).ok(),
        Format::Yaml => {
            let yaml = serde_saphyr::to_string(view).ok();
            yaml.map(|yaml| format!("---\n{}", yaml.trim_end()))
        }
    };
    let _ = match object {
        Some(object) => writeln!(stderr, "{object}"),
        None => writeln!(stderr, "{style}{head}{style:#} {sentence}"),
    };
}

/// Shows the error that ended the program and gives its exit code. A reader that closed the pipe has
/// seen enough: that is no error.
pub(crate) fn report(error: &anyhow::Error, format: Format) -> ExitCode {
    if error.downcast_ref().is_some_and(Unwritten::is_closed) {
        return Outcome::Done.into();
    }
    show(error, format);
    outcome(error).into()
}

fn outcome(error: &anyhow::Error) -> Outcome {
    let call = error.downcast_ref::<CallError>().map(CallError::call);
    let refused = call.is_some_and(|call| call.code == Code::InvalidArgument);
    if refused || error.is::<Usage>() { Outcome::Usage } else { Outcome::Failed }
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn details_reach_the_object() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info("INVALID_SPEC", "chaos.v1", [("limit".to_owned(), "1h".to_owned())])
            .add_bad_request_violation("duration", "5h is too long");
        let status =
            Status::with_error_details(Code::InvalidArgument, "the spec is refused", details);
        let error = anyhow::Error::from(CallError::new("inject a".into(), &status));
        assert_eq!(outcome(&error), Outcome::Usage);
        assert_eq!(
            serde_json::to_value(view(&error)).unwrap(),
            serde_json::json!({"error": {
                "message": "cannot inject a: the spec is refused; duration: 5h is too long",
                "code": "InvalidArgument",
                "reason": "INVALID_SPEC",
                "metadata": {"limit": "1h"},
                "fields": [{"field": "duration", "problem": "5h is too long"}],
            }})
        );
    }

    #[test]
    fn errors_cannot_steer_the_terminal() {
        let status = Status::new(Code::Internal, "\u{1b}[2Jno\nway");
        let error = CallError::new("get a".into(), &status).into();
        assert_eq!(sentence_of(&error), "cannot get a: \\u{1b}[2Jno\\nway");
        assert_eq!(outcome(&error), Outcome::Failed);
    }
}
