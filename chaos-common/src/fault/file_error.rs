//! `file error`: what is done to files fails.

use std::fmt;

use super::call::{Caller, Occasion, OperationName, Operations, Paths};
use crate::{
    abi::Operation,
    invalid::{At, Invalid},
    proto::v1,
    value::{Errno, Every, PathGlob, Percent},
    wire::list,
};

/// What the target does to files fails.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct FileError {
    /// To which files.
    pub paths: Paths,
    /// What is done.
    pub operations: Operations,
    /// With what it fails.
    pub errno: Errno,
    /// Who does it.
    pub caller: Caller,
    /// Which of all these.
    pub occasion: Occasion,
    /// What the node can do of it, if not all.
    pub partial: bool,
}

/// What can be done to files.
pub const FILE_OPERATIONS: [Operation; 20] = [
    Operation::Open,
    Operation::Create,
    Operation::Read,
    Operation::Write,
    Operation::Sync,
    Operation::Truncate,
    Operation::Rename,
    Operation::Unlink,
    Operation::Mkdir,
    Operation::Rmdir,
    Operation::Link,
    Operation::Symlink,
    Operation::Stat,
    Operation::Chmod,
    Operation::Chown,
    Operation::Map,
    Operation::Exec,
    Operation::Lock,
    Operation::Ioctl,
    Operation::List,
];

/// What is meant when nothing is said.
const USUAL: [Operation; 4] =
    [Operation::Open, Operation::Create, Operation::Read, Operation::Write];

impl FileError {
    /// From parts; no operations stand for the usual ones.
    ///
    /// # Errors
    /// When there are no paths, or operations that are not done to files.
    pub fn new(
        paths: Paths,
        operations: Vec<OperationName>,
        errno: Errno,
        caller: Caller,
        occasion: Occasion,
    ) -> Result<Self, Invalid> {
        let usual = USUAL.map(OperationName).to_vec();
        let operations = if operations.is_empty() { usual } else { operations };
        let operations = Operations::among(operations, &FILE_OPERATIONS).at("operations")?;
        Ok(Self { paths: paths.some()?, operations, errno, caller, occasion, partial: false })
    }

    /// The same, or what the node can do of it.
    #[must_use]
    pub fn partial(self, partial: bool) -> Self {
        Self { partial, ..self }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, operations, errno, caller, occasion, partial: _ } = self;
        write!(f, "{errno} {operations}{paths}{caller}{occasion}")
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    paths: Vec<PathGlob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<PathGlob>,
    #[serde(default)]
    operations: Vec<OperationName>,
    errno: Errno,
    #[serde(default, skip_serializing_if = "Caller::is_anyone")]
    caller: Caller,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

impl TryFrom<Raw> for FileError {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let paths = Paths::new(raw.paths, raw.except)?;
        let occasion = Occasion::new(raw.percent, raw.skip, raw.every)?;
        let fault = Self::new(paths, raw.operations, raw.errno, raw.caller, occasion)?;
        Ok(fault.partial(raw.partial))
    }
}

impl From<FileError> for Raw {
    fn from(error: FileError) -> Self {
        let FileError { paths, operations, errno, caller, occasion, partial } = error;
        let (percent, skip, every) = occasion.parts();
        let Paths { include: paths, except } = paths;
        let operations = operations.names();
        Self { paths, except, operations, errno, caller, percent, skip, every, partial }
    }
}

impl TryFrom<v1::FileError> for FileError {
    type Error = Invalid;

    fn try_from(wire: v1::FileError) -> Result<Self, Invalid> {
        let fault = Self::new(
            Paths::of_wire(wire.paths, wire.except)?,
            list(wire.operations, |name| name.parse()).at("operations")?,
            wire.errno.parse().at("errno")?,
            wire.caller.unwrap_or_default().try_into().at("caller")?,
            wire.occasion.unwrap_or_default().try_into().at("occasion")?,
        )?;
        Ok(fault.partial(wire.partial))
    }
}

impl From<&FileError> for v1::FileError {
    fn from(error: &FileError) -> Self {
        let (paths, except) = error.paths.to_wire();
        Self {
            paths,
            except,
            operations: error.operations.names().iter().map(ToString::to_string).collect(),
            errno: error.errno.name().to_owned(),
            caller: (!error.caller.is_anyone()).then(|| (&error.caller).into()),
            occasion: Some((&error.occasion).into()),
            partial: error.partial,
        }
    }
}
