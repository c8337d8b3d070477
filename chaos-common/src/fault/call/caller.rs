//! Which threads of a target call.

use std::fmt;

use crate::{
    invalid::{At, Invalid, shown},
    proto::v1,
    target::checked_name,
    value::PathGlob,
    wire::list,
};

checked_name! {
    /// The name of a thread, as `/proc/<pid>/comm` has it.
    Comm, "the name of a thread, 1 to 15 bytes", |text| {
        if (1..=15).contains(&text.len()) && !text.contains(['\0', '\n']) {
            Ok(())
        } else {
            Err(format!("{} is no name of a thread; give 1 to 15 bytes, as /proc/<pid>/comm has it", shown(text)))
        }
    }
}

/// Which threads of a target; all, if nothing is given.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<Comm>,
    /// Paths of the program that they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exe: Vec<PathGlob>,
}

impl Caller {
    /// Whether these are all threads.
    #[must_use]
    pub fn is_anyone(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(comm) = &self.comm {
            write!(f, ", of {comm}")?;
        }
        for (n, exe) in self.exe.iter().enumerate() {
            write!(f, "{}{exe}", if n > 0 { " " } else { ", of " })?;
        }
        Ok(())
    }
}

impl TryFrom<v1::Caller> for Caller {
    type Error = Invalid;

    fn try_from(wire: v1::Caller) -> Result<Self, Invalid> {
        Ok(Self {
            comm: wire.comm.map(|comm| comm.parse().at("comm")).transpose()?,
            exe: list(wire.exe, |glob| glob.parse()).at("exe")?,
        })
    }
}

impl From<&Caller> for v1::Caller {
    fn from(caller: &Caller) -> Self {
        Self {
            comm: caller.comm.as_ref().map(ToString::to_string),
            exe: caller.exe.iter().map(ToString::to_string).collect(),
        }
    }
}
