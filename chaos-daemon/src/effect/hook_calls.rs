//! The rule is asked about calls.

use std::fmt;

use chaos_common::abi::Operation;

use super::Owner;
use crate::kernel::{Calls, Kernel, KernelError};

/// At functions of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct HookCalls(pub Box<Calls>);

impl HookCalls {
    pub(super) fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        kernel.claim_calls(owner.rule, &self.0)
    }

    pub(super) fn adopt(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
        kernel.adopt_calls(owner.rule, &self.0)
    }
}

pub(super) fn undo(owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
    kernel.release_calls(owner.rule)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.covers_calls(owner.rule)
}

impl fmt::Display for HookCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calls { syscalls, operations } = &*self.0;
        f.write_str("attach programs where the kernel ")?;
        if !syscalls.is_empty() {
            f.write_str("begins")?;
        }
        for (n, call) in syscalls.iter().enumerate() {
            write!(f, "{} {call}", if n > 0 { "," } else { "" })?;
        }
        if !syscalls.is_empty() && !operations.is_empty() {
            f.write_str(", and ")?;
        }
        if !operations.is_empty() {
            f.write_str("asks about")?;
        }
        // Asked about where opening is.
        let said = operations.iter().filter(|operation| **operation != Operation::Made);
        for (n, operation) in said.enumerate() {
            write!(f, "{} {}", if n > 0 { "," } else { "" }, operation.word())?;
        }
        Ok(())
    }
}
