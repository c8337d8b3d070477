//! Calls on files wait that the rule says are to.

use std::fmt;

use super::Owner;
use crate::{
    kernel::{HeldFiles, Kernel, KernelError, look_for_files},
    target::{Cgroup, CgroupRoot},
};

/// Why such a fault ends before its time; the log says more.
pub(super) const LOST: &str = "its files cannot all be watched; the daemon's log says why";

/// A process of ours answers later when the kernel asks it.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldFiles(pub Box<HeldFiles>);

impl HoldFiles {
    /// Looks for what is to be watched. That may take its time, so it is done before anybody has to wait for it.
    ///
    /// # Errors
    /// When something does not answer, or cannot be watched.
    pub fn look(
        &self,
        target: &Cgroup,
        root: &CgroupRoot,
        is_run: bool,
    ) -> Result<(), KernelError> {
        look_for_files(root, is_run, target, &self.0)
    }

    /// Also after an earlier process, whose holder ended with it.
    pub(super) fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        kernel.hold_files(owner.rule, owner.target, &self.0)
    }
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) {
    kernel.free_files(owner.rule);
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.holds_files(owner.rule)
}

impl fmt::Display for HoldFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("watch")?;
        for (n, operation) in self.0.operations.iter().enumerate() {
            write!(f, "{} {}", if n > 0 { "," } else { "" }, operation.word())?;
        }
        f.write_str(" of")?;
        for (n, glob) in self.0.paths.iter().enumerate() {
            write!(f, "{} {glob}", if n > 0 { "," } else { "" })?;
        }
        f.write_str(" in every mount namespace of the target's processes (fanotify), from a process of its own")
    }
}
