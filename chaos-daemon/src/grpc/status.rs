//! Errors as status codes, with details that a program can read: an `ErrorInfo` whose reason is one of
//! those listed in `chaos.proto`, and a `BadRequest` that names the field.

use std::collections::HashMap;

use chaos_common::invalid::Invalid;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{engine::EngineError, kernel::KernelError, policy::Refusal, target::TargetError};

const DOMAIN: &str = "chaos.v1";

/// The request makes no sense.
pub(super) fn invalid(invalid: &Invalid) -> Status {
    let mut details = info("INVALID_SPEC", []);
    details.set_bad_request(vec![tonic_types::FieldViolation::new(
        invalid.field.clone(),
        invalid.problem.clone(),
    )]);
    Status::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
}

/// The caller may not.
pub(super) fn not_allowed(message: &str) -> Status {
    with(Code::PermissionDenied, "NOT_ALLOWED", message, [])
}

/// The work was lost, which only a defect can cause.
pub(super) fn lost(error: &tokio::task::JoinError) -> Status {
    Status::internal(format!("the request was lost: {error}"))
}

/// The engine said no.
pub(super) fn of(error: &EngineError) -> Status {
    let message = error.to_string();
    match error {
        EngineError::IdTaken(id) => {
            with(Code::AlreadyExists, "ID_TAKEN", &message, [("id", id.to_string())])
        }
        EngineError::Unknown(id) => {
            with(Code::NotFound, "UNKNOWN_INJECTION", &message, [("id", id.to_string())])
        }
        EngineError::Over { id, state } => with(
            Code::FailedPrecondition,
            "INJECTION_OVER",
            &message,
            [("id", id.to_string()), ("state", (*state).to_owned())],
        ),
        EngineError::Target(error) => target(error),
        EngineError::Refused(refusal) => match refusal {
            Refusal::TooLong { .. } => {
                with(Code::FailedPrecondition, "POLICY", &message, [("key", "maxDuration".into())])
            }
            Refusal::TooMany { .. } => {
                with(Code::ResourceExhausted, "POLICY", &message, [("key", "maxInjections".into())])
            }
            Refusal::Protected { target, .. } => with(
                Code::PermissionDenied,
                "TARGET_PROTECTED",
                &message,
                [("cgroup", target.to_string())],
            ),
        },
        EngineError::Unsupported(unsupported) => with(
            Code::Unimplemented,
            "UNSUPPORTED",
            &message,
            [("fault", unsupported.fault.to_string()), ("aspect", unsupported.aspect.to_owned())],
        ),
        EngineError::Peer(_) => with(Code::FailedPrecondition, "PEER_NOT_FOUND", &message, []),
        EngineError::TooManyOthers(problem) => invalid(problem),
        EngineError::PortHeld { id, .. } => {
            with(Code::FailedPrecondition, "PORT_TAKEN", &message, [("id", id.to_string())])
        }
        EngineError::Storage(_) => with(Code::Internal, "STORAGE", &message, []),
        EngineError::HalfDone { id, .. } | EngineError::RuleTaken { id, .. } => {
            with(Code::Internal, "KERNEL", &message, [("id", id.to_string())])
        }
        EngineError::Kernel(error) => kernel(error),
        EngineError::ShuttingDown => with(Code::Unavailable, "SHUTTING_DOWN", &message, []),
    }
}

/// The target was not found.
pub(super) fn target(error: &TargetError) -> Status {
    let code = match error {
        TargetError::OnlyV1
        | TargetError::NotMounted
        | TargetError::OnlyPart { .. }
        | TargetError::NotCgroup2 { .. } => Code::FailedPrecondition,
        TargetError::NotFound { .. }
        | TargetError::ProcessGone { .. }
        | TargetError::Zombie { .. }
        | TargetError::CgroupRemoved { .. } => Code::NotFound,
        TargetError::Ambiguous { .. }
        | TargetError::NoCgroup { .. }
        | TargetError::OutOfView { .. } => Code::InvalidArgument,
        TargetError::Io { .. } => Code::Internal,
    };
    with(code, "TARGET_NOT_FOUND", &error.to_string(), [])
}

fn kernel(error: &KernelError) -> Status {
    let (code, reason) = match error {
        KernelError::TargetFull { .. }
        | KernelError::NodeFull { .. }
        | KernelError::PrefixesFull(_)
        | KernelError::TooManyLevels { .. } => (Code::ResourceExhausted, "TARGET_FULL"),
        KernelError::PortTaken { .. } | KernelError::PortHeld { .. } => {
            (Code::FailedPrecondition, "PORT_TAKEN")
        }
        KernelError::Patterns(_) => (Code::InvalidArgument, "PATTERNS"),
        KernelError::TargetEmpty { .. } => (Code::FailedPrecondition, "TARGET_EMPTY"),
        KernelError::NoTypes { .. } => (Code::FailedPrecondition, "UNSUPPORTED"),
        KernelError::Load(_)
        | KernelError::Object(_)
        | KernelError::Missing(_)
        | KernelError::Program { .. }
        | KernelError::Map { .. }
        | KernelError::Hook { .. }
        | KernelError::Port { .. }
        | KernelError::Pin { .. }
        | KernelError::PinsInUse(_)
        | KernelError::ForeignPins(_)
        | KernelError::NoBpffs(_) => (Code::Internal, "KERNEL"),
    };
    with(code, reason, &error.to_string(), [])
}

fn with<const N: usize>(
    code: Code,
    reason: &str,
    message: &str,
    metadata: [(&str, String); N],
) -> Status {
    Status::with_error_details(code, message, info(reason, metadata))
}

fn info<const N: usize>(reason: &str, metadata: [(&str, String); N]) -> ErrorDetails {
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}
