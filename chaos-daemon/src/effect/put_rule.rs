//! The programs have a rule for the target.

use std::fmt;

use chaos_common::abi::{Chance, RuleStats};

use super::Owner;
use crate::kernel::{Kernel, KernelError, RuleSpec};

/// A rule in the engine's tables.
#[derive(Clone, Debug, PartialEq)]
pub struct PutRule(pub Box<RuleSpec>);

impl PutRule {
    /// Also replaces an earlier version of the same rule, its deadline for one, in one step.
    pub(super) fn apply(&self, owner: Owner<'_>, kernel: &mut Kernel) -> Result<(), KernelError> {
        kernel.put_rule(owner.rule, owner.target, &self.0)
    }

    pub(super) fn adopt(&self, owner: Owner<'_>, kernel: &mut Kernel) -> bool {
        // Put again after adoption, since the journal may know a later deadline.
        kernel.adopt_rule(owner.rule, owner.target, &self.0)
            && kernel.put_rule(owner.rule, owner.target, &self.0).is_ok()
    }
}

pub(super) fn undo(
    owner: Owner<'_>,
    kernel: &mut Kernel,
) -> Result<Option<RuleStats>, KernelError> {
    kernel.remove_rule(owner.rule)
}

pub(super) fn observe(owner: Owner<'_>, kernel: &Kernel) -> bool {
    kernel.has_rule(owner.rule)
}

impl fmt::Display for PutRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = &self.0.rule.gate;
        let percent =
            |chance: Chance| chance.share() as f64 * 100.0 / Chance::ALWAYS.share() as f64;
        write!(
            f,
            "put a rule: {}; fires with {:.4} %",
            self.0.filter,
            percent(gate.dice.fire_good)
        )?;
        if gate.dice.to_bad != Chance::NEVER {
            write!(
                f,
                ", in bursts with {:.4} % (begin {:.4} %, end {:.4} %)",
                percent(gate.dice.fire_bad),
                percent(gate.dice.to_bad),
                percent(gate.dice.to_good)
            )?;
        }
        if gate.budget != u64::MAX {
            write!(f, ", at most {} times", gate.budget)?;
        }
        Ok(())
    }
}
