//! What the target sends passes our program.

use super::Owner;
use crate::kernel::{Kernel, KernelError, Need};

pub(super) const DESCRIPTION: &str = "attach `net_out` to the egress of every interface that the target's processes can send through";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim(Need::Out, owner.rule, owner.target)
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release(Need::Out, owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
    kernel.adopt(Need::Out, owner.rule, owner.target)
}
