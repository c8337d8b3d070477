//! What the target attempts passes our programs.

use super::Owner;
use crate::kernel::{Kernel, KernelError};

pub(super) const DESCRIPTION: &str = "attach `net_connect4`, `net_connect6`, `net_sendmsg4` and `net_sendmsg6` to the target's cgroup";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim_attempts(owner.rule, owner.target)
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release_attempts(owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers_attempts(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> bool {
    kernel.adopt_attempts(owner.rule, owner.target)
}
