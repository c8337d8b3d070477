//! Kinds of file, as bits of a rule of the `call` engine.

/// Kinds of file, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FileKind {
    /// A regular file.
    Regular = 1,
    /// A directory.
    Directory = 2,
    /// A socket.
    Socket = 4,
    /// A pipe, with a name or without.
    Pipe = 8,
    /// A character device.
    Character = 16,
    /// A block device.
    Block = 32,
    /// Anything else: `epoll`, `eventfd`, `timerfd`…
    Other = 64,
}

impl FileKind {
    /// Of a file whose inode has this mode.
    #[inline(always)]
    #[must_use]
    pub const fn of_mode(mode: u32) -> Self {
        match mode & 0o170_000 {
            0o100_000 => Self::Regular,
            0o040_000 => Self::Directory,
            0o140_000 => Self::Socket,
            0o010_000 => Self::Pipe,
            0o020_000 => Self::Character,
            0o060_000 => Self::Block,
            _ => Self::Other,
        }
    }
}
