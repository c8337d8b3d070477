//! `syscall error`: system calls fail where they begin.

use std::fmt;

use super::call::{Caller, Occasion, Paths};
use crate::{
    invalid::{At, Invalid},
    proto::v1,
    value::{Bytes, Errno, Every, FileKinds, PathGlob, Percent, Syscalls},
    wire::list,
};

/// System calls of the target fail.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct SyscallError {
    /// Which.
    pub calls: Syscalls,
    /// With what.
    pub errno: Errno,
    /// On which files; none is all, and what is about no file.
    pub paths: Paths,
    /// On what kinds of file; none is all.
    pub files: FileKinds,
    /// About how many bytes.
    pub size: Option<SizeRange>,
    /// Whose.
    pub caller: Caller,
    /// Which of all these.
    pub occasion: Occasion,
    /// What the node can do of it, if not all.
    pub partial: bool,
}

/// So many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SizeRange {
    /// At the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<Bytes>,
    /// At the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Bytes>,
}

impl SizeRange {
    fn checked(self) -> Result<Self, Invalid> {
        let (least, most) = self.bounds();
        if least > most {
            let problem = "is more than `most`, so no size fits; exchange the two";
            return Err(Invalid::new(problem).at("least"));
        }
        Ok(self)
    }

    /// In bytes, both included.
    #[must_use]
    pub fn bounds(self) -> (u64, u64) {
        (self.least.map_or(0, |least| least.0), self.most.map_or(u64::MAX, |most| most.0))
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (Some(least), Some(most)) => write!(f, ", {least} to {most}"),
            (Some(least), None) => write!(f, ", {least} or more"),
            (None, Some(most)) => write!(f, ", {most} or less"),
            (None, None) => Ok(()),
        }
    }
}

impl SyscallError {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// When no size fits.
    pub fn checked(self) -> Result<Self, Invalid> {
        let size = self.size.map(SizeRange::checked).transpose().at("size")?;
        Ok(Self { size, ..self })
    }
}

impl fmt::Display for SyscallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, errno, paths, files, size, caller, occasion, partial: _ } = self;
        write!(f, "{errno} {calls}{paths}{files}")?;
        if let Some(size) = size {
            size.fmt(f)?;
        }
        write!(f, "{caller}{occasion}")
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    calls: Syscalls,
    errno: Errno,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    paths: Vec<PathGlob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    except: Vec<PathGlob>,
    #[serde(default, skip_serializing_if = "FileKinds::is_any")]
    files: FileKinds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<SizeRange>,
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

impl TryFrom<Raw> for SyscallError {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let Raw { calls, errno, files, size, caller, partial, .. } = raw;
        let paths = Paths::new(raw.paths, raw.except)?;
        let occasion = Occasion::new(raw.percent, raw.skip, raw.every)?;
        Self { calls, errno, paths, files, size, caller, occasion, partial }.checked()
    }
}

impl From<SyscallError> for Raw {
    fn from(error: SyscallError) -> Self {
        let SyscallError { calls, errno, paths, files, size, caller, occasion, partial } = error;
        let (percent, skip, every) = occasion.parts();
        let Paths { include: paths, except } = paths;
        Self { calls, errno, paths, except, files, size, caller, percent, skip, every, partial }
    }
}

impl TryFrom<v1::SyscallError> for SyscallError {
    type Error = Invalid;

    fn try_from(wire: v1::SyscallError) -> Result<Self, Invalid> {
        let size = wire
            .size
            .map(|size| SizeRange { least: size.least.map(Bytes), most: size.most.map(Bytes) });
        Self {
            calls: list(wire.calls, |name| name.parse())
                .and_then(Syscalls::try_from)
                .at("calls")?,
            errno: wire.errno.parse().at("errno")?,
            paths: Paths::of_wire(wire.paths, wire.except)?,
            files: list(wire.files, |kind| kind.parse()).map(FileKinds::new).at("files")?,
            size,
            caller: wire.caller.unwrap_or_default().try_into().at("caller")?,
            occasion: wire.occasion.unwrap_or_default().try_into().at("occasion")?,
            partial: wire.partial,
        }
        .checked()
    }
}

impl From<&SyscallError> for v1::SyscallError {
    fn from(error: &SyscallError) -> Self {
        let (paths, except) = error.paths.to_wire();
        Self {
            calls: error.calls.names().iter().map(ToString::to_string).collect(),
            errno: error.errno.name().to_owned(),
            paths,
            except,
            files: error.files.iter().map(|kind| kind.to_string()).collect(),
            size: error.size.map(|size| v1::SizeRange {
                least: size.least.map(|least| least.0),
                most: size.most.map(|most| most.0),
            }),
            caller: (!error.caller.is_anyone()).then(|| (&error.caller).into()),
            occasion: Some((&error.occasion).into()),
            partial: error.partial,
        }
    }
}
