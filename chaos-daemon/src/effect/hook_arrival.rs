//! What arrives for the target passes our program before the stack has it.

use super::Owner;
use crate::kernel::{Kernel, KernelError, Need};

pub(super) const DESCRIPTION: &str = "attach `net_arrive` to the ingress of every interface that the target's processes can receive through";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim(Need::In, owner.rule, owner.target)
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release(Need::In, owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
    kernel.adopt(Need::In, owner.rule, owner.target)
}
