//! The target's packets have a place to wait.

use super::Owner;
use crate::kernel::{Kernel, KernelError, Need};

pub(super) const DESCRIPTION: &str = "make a place where packets wait in every network namespace that the target's processes use: a pair of devices with an `fq`; or, where the kernel has no `fq`, a TAP device of the daemon";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim(Need::Hold, owner.rule, owner.target)
}

/// What waits still arrives: the devices go when nothing does.
pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release(Need::Hold, owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    // Seen with the hooks of the same namespaces.
    kernel.covers(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
    kernel.adopt(Need::Hold, owner.rule, owner.target)
}
