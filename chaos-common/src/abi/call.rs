//! Rules of the `call` engine, which makes calls into the kernel fail, and what its programs know of calls.

mod event;
mod file;
mod glob;
mod hold;
mod layout;
mod operation;
mod prefilter;
mod signature;
mod socket;

pub use event::CallEvent;
pub use file::FileKind;
pub use glob::{GLOB_ACCEPTS, GLOB_CELLS, GLOB_DEAD, Glob, GlobKey, GlobOf};
pub use hold::{CallHold, HeldCall, Wait};
pub use layout::CallLayout;
pub use operation::Operation;
pub use prefilter::{PREFILTERS, Prefilter, Start};
pub use signature::{Abi, MAX_CALLS, NO_ARGUMENT, SIZE_OF_BREAK, Signature};
pub use socket::{SocketFamily, SocketFilter};

use super::Gate;

/// Words of a set of system calls: a bit for each number of a 64-bit program.
pub const CALL_WORDS: usize = 8;

/// One rule of the `call` engine: which calls of a target, the gate, and how they fail or how long they
/// are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallRule {
    /// Deadline, budget and dice.
    pub gate: Gate,
    /// Its name; where there is no rule, 0.
    pub id: u32,
    /// What the call fails with; 0 if it is held instead.
    pub errno: u32,
    /// Bits of [`Condition`].
    pub conditions: u32,
    /// Bits of [`FileKind`]; of what kind the call's file is.
    pub files: u32,
    /// System calls, by their numbers for 64-bit programs.
    pub calls: [u64; CALL_WORDS],
    /// Bits of [`Operation`].
    pub operations: u64,
    /// The least size, in bytes.
    pub least: u64,
    /// The greatest size, in bytes.
    pub most: u64,
    /// How long it is held.
    pub hold: CallHold,
    /// The name of the thread, with zeroes behind it.
    pub comm: [u8; 16],
    /// Which sockets.
    pub socket: SocketFilter,
    /// Zero.
    pub padding: u32,
}

/// What a rule asks of a call besides what it is. Each costs only the rules that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Condition {
    /// The file's path, by a [`Glob`].
    Path = 1,
    /// The path of the program that calls, by a [`Glob`].
    Exe = 2,
    /// The thread's name.
    Comm = 4,
    /// `least` and `most`.
    Size = 8,
    /// `files`.
    Files = 16,
    /// `socket`.
    Socket = 32,
}

impl Condition {
    /// Whether it is among a rule's conditions.
    #[inline(always)]
    #[must_use]
    pub const fn is_in(self, conditions: u32) -> bool {
        conditions & self as u32 != 0
    }
}
