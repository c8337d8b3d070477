//! `memory error`: there is none left, of memory, of processes, of descriptors.

use std::fmt;

use super::call::{Caller, Occasion, OperationName, Operations};
use crate::{
    abi::Operation,
    invalid::{At, Invalid},
    proto::v1,
    value::{Bytes, Errno, Every, Percent},
};

/// The target gets no more of something.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct MemoryError {
    /// Of what.
    pub operation: Operation,
    /// Memory: at least so much at once.
    pub least: Bytes,
    /// With what it fails, if not with what is usual for each.
    pub errno: Option<Errno>,
    /// Who gets none.
    pub caller: Caller,
    /// Which of all these.
    pub occasion: Occasion,
}

/// What one may want.
pub const MEMORY_OPERATIONS: [Operation; 3] =
    [Operation::Allocate, Operation::Fork, Operation::Descriptor];

impl MemoryError {
    /// What is spared if nothing is said: a stack grows by less.
    pub const LEAST: Bytes = Bytes(64 << 10);

    /// With what it fails.
    #[must_use]
    pub fn errno(&self) -> Errno {
        let usual = if self.operation == Operation::Fork {
            Errno::EAGAIN
        } else if self.operation == Operation::Descriptor {
            Errno::EMFILE
        } else {
            Errno::ENOMEM
        };
        self.errno.unwrap_or(usual)
    }

    /// From parts.
    ///
    /// # Errors
    /// When they do not fit together.
    pub fn new(
        operation: OperationName,
        least: Option<Bytes>,
        errno: Option<Errno>,
        caller: Caller,
        occasion: Occasion,
    ) -> Result<Self, Invalid> {
        Operations::among([operation], &MEMORY_OPERATIONS).at("operation")?;
        let OperationName(operation) = operation;
        if least.is_some() && operation != Operation::Allocate {
            let problem = "is of memory; give it with `allocate` only";
            return Err(Invalid::new(problem).at("least"));
        }
        let is_usual = errno.is_none_or(|errno| errno == Errno::ENOMEM);
        if operation == Operation::Allocate && !is_usual {
            let problem = "no memory is always ENOMEM; leave it out with `allocate`";
            return Err(Invalid::new(problem).at("errno"));
        }
        let least = least.unwrap_or(Self::LEAST);
        Ok(Self { operation, least, errno, caller, occasion })
    }

    /// The least size, if it is asked for.
    fn asked_least(&self) -> Option<Bytes> {
        (self.operation == Operation::Allocate).then_some(self.least)
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.errno(), self.operation.word())?;
        if let Some(least) = self.asked_least() {
            write!(f, ", {least} or more")?;
        }
        write!(f, "{}{}", self.caller, self.occasion)
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    operation: OperationName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    least: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno: Option<Errno>,
    #[serde(default, skip_serializing_if = "Caller::is_anyone")]
    caller: Caller,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
}

impl TryFrom<Raw> for MemoryError {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let occasion = Occasion::new(raw.percent, raw.skip, raw.every)?;
        Self::new(raw.operation, raw.least, raw.errno, raw.caller, occasion)
    }
}

impl From<MemoryError> for Raw {
    fn from(error: MemoryError) -> Self {
        let (percent, skip, every) = error.occasion.parts();
        let (operation, least) = (OperationName(error.operation), error.asked_least());
        let MemoryError { errno, caller, .. } = error;
        Self { operation, least, errno, caller, percent, skip, every }
    }
}

impl TryFrom<v1::MemoryError> for MemoryError {
    type Error = Invalid;

    fn try_from(wire: v1::MemoryError) -> Result<Self, Invalid> {
        Self::new(
            wire.operation.parse().at("operation")?,
            wire.least.map(Bytes),
            wire.errno.map(|errno| errno.parse().at("errno")).transpose()?,
            wire.caller.unwrap_or_default().try_into().at("caller")?,
            wire.occasion.unwrap_or_default().try_into().at("occasion")?,
        )
    }
}

impl From<&MemoryError> for v1::MemoryError {
    fn from(error: &MemoryError) -> Self {
        Self {
            operation: error.operation.word().to_owned(),
            least: error.asked_least().map(|least| least.0),
            errno: error.errno.map(|errno| errno.name().to_owned()),
            caller: (!error.caller.is_anyone()).then(|| (&error.caller).into()),
            occasion: Some((&error.occasion).into()),
        }
    }
}
