//! The target's packets have a way on which their checksums become wrong.

use super::Owner;
use crate::kernel::{Kernel, KernelError, Need};

pub(super) const DESCRIPTION: &str = "make a pair of devices without checksum offload, in which checksums become wrong, in every network namespace that the target's processes use";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim(Need::Spoil, owner.rule, owner.target)
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release(Need::Spoil, owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    // Seen with the hooks of the same namespaces.
    kernel.covers(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
    kernel.adopt(Need::Spoil, owner.rule, owner.target)
}
