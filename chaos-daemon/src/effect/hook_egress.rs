//! What the target sends passes our program.

use super::Owner;
use crate::kernel::{Kernel, KernelError};

pub(super) const DESCRIPTION: &str = "attach `net_out` to the egress of every interface that the target's processes can send through";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim_egress(owner.rule, owner.target)
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release_egress(owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers_egress(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
    kernel.adopt_egress(owner.rule, owner.target)
}
