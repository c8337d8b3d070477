//! Open TCP connections of the target are reset. That happens once, and nothing is left to be undone.

use std::fmt;

use super::Owner;
use crate::kernel::{Kernel, KernelError, Wanted};

/// Which of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ResetOpen(pub Box<Wanted>);

impl ResetOpen {
    /// Says how many.
    pub(super) fn apply(&self, owner: Owner<'_>, kernel: &Kernel) -> Result<u64, KernelError> {
        kernel.reset_connections(owner.target, &self.0)
    }
}

impl fmt::Display for ResetOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reset the TCP connections that the target has open, once: {}", self.0.filter)
    }
}
