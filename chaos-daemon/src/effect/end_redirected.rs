//! What the target has connected elsewhere ends with the fault. While this lasts there is nothing to be done for it.

use super::Owner;
use crate::kernel::{Kernel, KernelError};

pub(super) const DESCRIPTION: &str =
    "end the sockets that are connected elsewhere, at the end of the fault";

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.end_redirected(owner.rule)
}
