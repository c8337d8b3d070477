//! The programs have a rule for the target.

use std::fmt;

use chaos_common::abi::{Chance, Dice, Gate, RuleStats};

use super::Owner;
use crate::kernel::{About, Kernel, KernelError, RuleSpec};

/// A rule in the engine's tables.
#[derive(Clone, Debug, PartialEq)]
pub struct PutRule(pub Box<RuleSpec>);

impl PutRule {
    pub(super) fn left_out(&self) -> &str {
        match &self.0.about {
            About::Calls(.., missing) => missing,
            About::Packets(_) | About::Questions(..) | About::Binding(_) => "",
        }
    }

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
        write!(f, "put a rule: {}; {}", self.0.about, Firing(&self.0.rule.gate))
    }
}

/// When a rule with a gate fires.
pub(super) struct Firing<'a>(pub(super) &'a Gate);

impl fmt::Display for Firing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gate { dice, budget, .. } = self.0;
        f.write_str("fires ")?;
        match (dice.every, Chances(dice)) {
            (2.., _) => write!(f, "at one in {}", dice.every)?,
            (0 | 1, chances) => write!(f, "with {chances}")?,
        }
        // Of a rhythm without any the last of each so many is the first that fires.
        if dice.first > 0 && dice.first + 1 != dice.every {
            write!(f, " from event {} on", dice.first)?;
        }
        if *budget != u64::MAX {
            write!(f, ", at most {budget} times")?;
        }
        Ok(())
    }
}

/// The chances of dice, state by state where there are several.
struct Chances<'a>(&'a Dice);

impl fmt::Display for Chances<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |chance: Chance| {
            let percent = chance.share() as f64 * 100.0 / Chance::ALWAYS.share() as f64;
            if percent > 0.0 && percent < 0.0001 {
                format!("{percent:.1e} %")
            } else {
                format!("{percent:.4} %")
            }
        };
        let [first, ..] = &self.0.states;
        f.write_str(&percent(first.fires))?;
        if first.up_to[0] == Chance::ALWAYS {
            return Ok(());
        }
        f.write_str(" in state 1, which it stays in with ")?;
        f.write_str(&percent(first.up_to[0]))?;
        for (n, state) in self.0.states.iter().enumerate().skip(1) {
            write!(f, ", {} in state {}", percent(state.fires), n + 1)?;
        }
        Ok(())
    }
}
