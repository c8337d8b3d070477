//! The programs have a rule about calls of the target.

use std::fmt;

use chaos_common::abi::RuleStats;

use super::{Owner, put_rule::Firing};
use crate::{
    kernel::{CallSpec, Kernel, KernelError},
    target::Cgroup,
};

/// A rule in the tables of the engine `call`.
#[derive(Clone, Debug, PartialEq)]
pub struct PutCallRule(pub Box<CallSpec>);

impl PutCallRule {
    pub(super) fn admit(&self, target: &Cgroup, kernel: &Kernel) -> Result<(), KernelError> {
        kernel.admit_calls(target, &self.0)
    }

    /// Also replaces an earlier version of the same rule, its deadline for one, in one step.
    pub(super) fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        kernel.put_call_rule(owner.rule, owner.target, &self.0)
    }

    pub(super) fn adopt(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
        // Put again after adoption, since the journal may know a later deadline.
        let is_there = kernel.adopt_call_rule(owner.rule, owner.target, &self.0)?;
        Ok(is_there && self.apply(owner, kernel).is_ok())
    }
}

pub(super) fn undo(
    owner: Owner<'_>,
    kernel: &mut Kernel,
) -> Result<Option<RuleStats>, KernelError> {
    kernel.remove_call_rule(owner.rule)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.has_call_rule(owner.rule)
}

impl fmt::Display for PutCallRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "put a rule: {}; {}", self.0, Firing(&self.0.rule.gate))
    }
}
