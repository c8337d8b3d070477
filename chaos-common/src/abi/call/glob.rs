//! Patterns of paths, as programs of the `call` engine read them.

/// Whose path a [`Glob`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum GlobOf {
    /// The file's.
    File = 0,
    /// The program's.
    Program = 1,
}

/// Key of a [`Glob`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct GlobKey {
    /// The rule.
    pub rule: u32,
    /// A [`GlobOf`].
    pub of: u32,
}

/// Cells of the table of a [`Glob`].
pub const GLOB_CELLS: usize = 1 << 14;
/// The state from which no path is found any more.
pub const GLOB_DEAD: u32 = 0;
/// Set in a state in which a path may end.
pub const GLOB_ACCEPTS: u32 = 1 << 15;

/// Patterns of paths as a finite automaton, which reads a path from its end to its beginning: that is how the kernel
/// tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Glob {
    /// Which bytes are the same to it.
    pub classes: [u8; 256],
    /// The state that it begins in.
    pub start: u32,
    /// State `s` goes on in `table[(s << shift) + class]`.
    pub shift: u32,
    /// The states.
    pub table: [u16; GLOB_CELLS],
}

impl Glob {
    /// The state after one more byte.
    #[inline(always)]
    #[must_use]
    pub const fn step(&self, state: u32, byte: u8) -> u32 {
        // In 64 bits: older verifiers lose sight of what 32 leave of a number.
        let class = self.classes[byte as usize] as u64;
        let cell = ((state as u64 & !(GLOB_ACCEPTS as u64)) << (self.shift & 15)) + class;
        self.table[(cell & (GLOB_CELLS as u64 - 1)) as usize] as u32
    }

    /// Whether a path may end in a state.
    #[inline(always)]
    #[must_use]
    pub const fn accepts(state: u32) -> bool {
        state & GLOB_ACCEPTS != 0
    }
}
