//! Undoable changes to the node: what plans are made of.
//!
//! # Contract
//! * `apply` may be repeated, and may fail half-way; `undo` then takes back what was done.
//! * `undo` may be repeated, and takes "was never applied" for done. Effects do not build on each other,
//!   so a plan is undone in its own order: what bites goes first.
//! * `adopt` makes what an earlier process applied this process's own. It answers whether the effect
//!   is whole; if not, `undo` is due.
//!
//! Crash safety, dry runs and residue checks rest on these three and are written nowhere else.

mod egress;
mod ingress;
mod rule;

pub use rule::PutRule;

use std::fmt;

use crate::{
    kernel::{Kernel, KernelError, RuleId},
    target::Cgroup,
};

/// One undoable change.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// What the target sends passes our program.
    HookEgress,
    /// What the target receives passes our program.
    HookIngress,
    /// The programs have a rule for the target.
    PutRule(PutRule),
}

/// For whom an effect is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The injection's rule.
    pub rule: RuleId,
    /// The injection's target.
    pub target: &'a Cgroup,
}

impl Effect {
    /// Makes it so.
    ///
    /// # Errors
    /// When the kernel refuses; `undo` is due then.
    pub fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        match self {
            Self::HookEgress => egress::apply(owner, kernel),
            Self::HookIngress => ingress::apply(owner, kernel),
            Self::PutRule(rule) => rule.apply(owner, kernel),
        }
    }

    /// Makes it not so.
    ///
    /// # Errors
    /// When the kernel refuses; it may be tried again.
    pub fn undo(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        match self {
            Self::HookEgress => egress::undo(owner, kernel),
            Self::HookIngress => ingress::undo(owner, kernel),
            Self::PutRule(_) => rule::undo(owner, kernel),
        }
    }

    /// Takes over what an earlier process applied.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<bool, KernelError> {
        match self {
            // Attaching again replaces an earlier process's hook without a gap.
            Self::HookEgress => egress::apply(owner, kernel).map(|()| true),
            Self::HookIngress => ingress::apply(owner, kernel).map(|()| true),
            Self::PutRule(rule) => Ok(rule.adopt(owner, kernel)),
        }
    }

    /// The step after which a test may kill the daemon.
    #[must_use]
    pub const fn applied_step(&self) -> &'static str {
        match self {
            Self::HookEgress | Self::HookIngress => "hook-attached",
            Self::PutRule(_) => "rule-written",
        }
    }

    /// The step after which a test may kill the daemon.
    #[must_use]
    pub const fn undone_step(&self) -> &'static str {
        match self {
            Self::HookEgress | Self::HookIngress => "hook-detached",
            Self::PutRule(_) => "rule-removed",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HookEgress => f.write_str(egress::DESCRIPTION),
            Self::HookIngress => f.write_str(ingress::DESCRIPTION),
            Self::PutRule(rule) => rule.fmt(f),
        }
    }
}
