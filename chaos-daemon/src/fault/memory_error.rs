//! `memory error`: there is none left, where the kernel asks its security modules.

use chaos_common::{
    abi::{CallRule, Condition, Operation},
    fault::{FaultKind, MEMORY_OPERATIONS, MemoryError, Paths},
    value::Remotes,
};

use super::{
    Capability, Limits, Unsupported,
    call::{self, Asked, Rule},
};
use crate::{effect::Effect, kernel::Support};

pub(super) fn plan(
    error: &MemoryError,
    limits: &Limits,
    support: &Support,
) -> Result<Vec<Effect>, Unsupported> {
    let mut asked = Asked::default();
    asked.operation(error.operation, support.calls.get());
    let chosen = asked.settle(FaultKind::MemoryError, false)?;
    let size = if error.operation == Operation::Allocate { Condition::Size as u32 } else { 0 };
    let rule = Rule {
        errno: Some(error.errno()),
        paths: &Paths::default(),
        caller: &error.caller,
        occasion: &error.occasion,
        rule: CallRule {
            conditions: size,
            least: error.least.0,
            // A size that is none: memory that is given back.
            most: i64::MAX as u64,
            ..CallRule::default()
        },
        remotes: (Remotes::default(), Remotes::default()),
        about: format!("{} {}", error.errno(), error.operation.word()),
    };
    Ok(rule.effects(chosen, limits))
}

pub(super) fn capabilities(support: &Support) -> Vec<Capability> {
    let of = |operation| call::capability(FaultKind::MemoryError, operation, support);
    MEMORY_OPERATIONS.into_iter().map(of).collect()
}
