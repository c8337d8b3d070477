//! What the target receives passes our program.

use super::Owner;
use crate::kernel::{Kernel, KernelError};

pub(super) const DESCRIPTION: &str = "attach `net_in` to the ingress of the target's cgroup";

pub(super) fn apply(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.claim_ingress(owner.rule, owner.target)
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release_ingress(owner.rule, owner.target)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers_ingress(owner.target)
}

pub(super) fn adopt(owner: Owner<'_>, kernel: &mut Kernel) -> bool {
    kernel.adopt_ingress(owner.rule, owner.target)
}
