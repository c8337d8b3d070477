//! The name of a rule.

use chaos_common::abi::MAX_RULES;

/// The name of a rule in the kernel; never used twice while a daemon lives.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct RuleId(pub u32);

impl RuleId {
    /// Where it lies in the kernel's table. No two rules that are there at the same time share a place.
    #[must_use]
    pub const fn place(self) -> u32 {
        self.0 % MAX_RULES
    }
}
