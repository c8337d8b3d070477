//! What programs of the `call` engine know of system calls.

/// Numbers of system calls that there can be. Those of programs of the x32 kind go up to 547.
pub const MAX_CALLS: usize = 1024;
/// How a system call was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Abi {
    /// By a 64-bit program.
    Native = 0,
    /// By a 32-bit program, or by `int 0x80`.
    Compat = 1,
}

impl Abi {
    /// How many there are.
    pub const COUNT: usize = 2;
}

/// Where [`Signature`] has no such argument.
pub const NO_ARGUMENT: u8 = 0xff;

/// [`Signature::size`] of a call that says where memory is to end from now on (`brk`), in its first argument.
pub const SIZE_OF_BREAK: u8 = 0xfe;

/// What programs know of a system call: which it is, and which of its arguments, from 0, say what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Signature {
    /// One more than its number for 64-bit programs; 0 is none.
    pub native: u16,
    /// Zero.
    pub padding: u16,
    /// A path.
    pub path: u8,
    /// The directory in which that begins.
    pub at: u8,
    /// A second path.
    pub second_path: u8,
    /// The directory in which that begins.
    pub second_at: u8,
    /// A descriptor.
    pub file: u8,
    /// A size in bytes.
    pub size: u8,
    /// An array of buffers; how many is the argument behind it.
    pub vector: u8,
    /// The address of the other end, or of one's own; its length is the argument behind it.
    pub address: u8,
}
