//! What the engine `call` has besides its programs: which call it is, of whom, on what, and whether it fails.

mod arguments;
mod caller;
mod condition;
mod file;
pub mod generation;
mod glob;
pub mod judge;
mod layout;
pub mod operation;
mod path;
mod place;
mod prefilter;
mod socket;
pub mod syscall;
mod tables;

use chaos_common::abi::{CallRule, Operation};

/// What call it is: its number, or an [`Operation`]; and how it was entered.
#[derive(Clone, Copy)]
struct What(u64);

impl What {
    const OPERATION: u64 = 1 << 32;
    const COMPAT: u64 = 1 << 33;

    #[inline(always)]
    const fn operation(operation: Operation) -> Self {
        Self(Self::OPERATION | operation as u64)
    }

    #[inline(always)]
    const fn syscall(number: u32, is_compat: bool) -> Self {
        Self(number as u64 | if is_compat { Self::COMPAT } else { 0 })
    }

    #[inline(always)]
    const fn number(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    const fn is_operation(self) -> bool {
        self.0 & Self::OPERATION != 0
    }

    #[inline(always)]
    const fn is_compat(self) -> bool {
        self.0 & Self::COMPAT != 0
    }

    #[inline(always)]
    const fn is(self, operation: Operation) -> bool {
        self.is_operation() && self.number() == operation as u32
    }

    #[inline(always)]
    const fn is_of_sockets(self) -> bool {
        self.is_operation()
            && self.number() >= Operation::Socket as u32
            && self.number() <= Operation::Receive as u32
    }

    /// Whether a rule is about it.
    #[inline(always)]
    fn is_in(self, rule: &CallRule) -> bool {
        let number = self.number();
        let set = if self.is_operation() {
            rule.operations
        } else {
            rule.calls[number as usize / 64 % rule.calls.len()]
        };
        set & 1 << (number % 64) != 0
    }
}
