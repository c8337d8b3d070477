//! What a process does, as bits of a rule of the `call` engine.

/// What a process does to something, wherever the kernel asks whether it may: the bits of [`CallRule::operations`](super::CallRule::operations).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Operation {
    /// Open what is there.
    Open = 0,
    /// Open, or make, what is not.
    Create = 1,
    /// Read from an open file.
    Read = 2,
    /// Write to an open file.
    Write = 3,
    /// Cut off or extend.
    Truncate = 4,
    /// Give another name: the old one or the new one counts.
    Rename = 5,
    /// Remove a name.
    Unlink = 6,
    /// Make a directory.
    Mkdir = 7,
    /// Remove a directory.
    Rmdir = 8,
    /// Make a further name: the old one or the new one counts.
    Link = 9,
    /// Make a symbolic link.
    Symlink = 10,
    /// Ask for size, times and so on.
    Stat = 11,
    /// Change the mode.
    Chmod = 12,
    /// Change the owner.
    Chown = 13,
    /// Map into memory.
    Map = 14,
    /// Run as a program.
    Exec = 15,
    /// Lock.
    Lock = 16,
    /// `ioctl`.
    Ioctl = 17,
    /// List a directory.
    List = 18,
    /// Have what was written on the disk.
    Sync = 19,
    /// Open what the same call has made: with [`Operation::Create`] nobody waits, as there is nothing yet.
    Made = 20,
    /// Make a socket.
    Socket = 32,
    /// Bind one.
    Bind = 33,
    /// Connect one.
    Connect = 34,
    /// Let one listen.
    Listen = 35,
    /// Take a connection.
    Accept = 36,
    /// Send.
    Send = 37,
    /// Receive.
    Receive = 38,
    /// Get memory.
    Allocate = 48,
    /// Begin a process or thread.
    Fork = 49,
    /// Get a descriptor for something new.
    Descriptor = 50,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 31] = [
        Self::Open,
        Self::Create,
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::Rename,
        Self::Unlink,
        Self::Mkdir,
        Self::Rmdir,
        Self::Link,
        Self::Symlink,
        Self::Stat,
        Self::Chmod,
        Self::Chown,
        Self::Map,
        Self::Exec,
        Self::Lock,
        Self::Ioctl,
        Self::List,
        Self::Sync,
        Self::Made,
        Self::Socket,
        Self::Bind,
        Self::Connect,
        Self::Listen,
        Self::Accept,
        Self::Send,
        Self::Receive,
        Self::Allocate,
        Self::Fork,
        Self::Descriptor,
    ];

    /// The one with a number.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| *operation as u32 == number)
    }

    /// What users call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open | Self::Made => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Truncate => "truncate",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Mkdir => "mkdir",
            Self::Rmdir => "rmdir",
            Self::Link => "link",
            Self::Symlink => "symlink",
            Self::Stat => "stat",
            Self::Chmod => "chmod",
            Self::Chown => "chown",
            Self::Map => "mmap",
            Self::Exec => "exec",
            Self::Lock => "lock",
            Self::Ioctl => "ioctl",
            Self::List => "list",
            Self::Sync => "fsync",
            Self::Socket => "socket",
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Accept => "accept",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Allocate => "allocate",
            Self::Fork => "fork",
            Self::Descriptor => "descriptor",
        }
    }

    /// Its bit.
    #[inline(always)]
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u32
    }
}
