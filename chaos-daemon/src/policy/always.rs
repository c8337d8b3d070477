//! The cgroups that no policy gives away.

use chaos_common::target::CgroupPath;

use crate::target::{TargetError, of_process};

/// The root, the daemon's own cgroup and that of process 1. These can move: the daemon may be put
/// elsewhere, and process 1 moves at boot. So they are read again for each check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Always {
    /// The daemon's own; `None` if it cannot be named as a target anyway.
    pub own: Option<CgroupPath>,
    /// That of process 1; `None` if it cannot be named as a target anyway.
    pub init: Option<CgroupPath>,
}

impl Always {
    /// Looks where the daemon and process 1 are now.
    ///
    /// # Errors
    /// When `/proc` does not answer.
    pub fn read() -> Result<Self, TargetError> {
        Ok(Self { own: nameable(std::process::id())?, init: nameable(1)? })
    }
}

fn nameable(pid: u32) -> Result<Option<CgroupPath>, TargetError> {
    match of_process(pid) {
        Ok(path) => Ok(Some(path)),
        Err(
            TargetError::OutOfView { .. }
            | TargetError::CgroupRemoved { .. }
            | TargetError::ProcessGone { .. }
            | TargetError::Zombie { .. },
        ) => Ok(None),
        Err(
            error @ (TargetError::OnlyV1
            | TargetError::NotMounted
            | TargetError::OnlyPart { .. }
            | TargetError::NotCgroup2 { .. }
            | TargetError::NotFound { .. }
            | TargetError::Ambiguous { .. }
            | TargetError::NoCgroup { .. }
            | TargetError::Io { .. }),
        ) => Err(error),
    }
}
