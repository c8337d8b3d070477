//! Rules of the `call` engine, which makes calls into the kernel fail, and what its programs know of calls.

use super::{Gate, PortSet};

/// Numbers of system calls that there can be. Those of programs of the x32 kind go up to 547.
pub const MAX_CALLS: usize = 1024;
/// Words of a set of system calls: a bit for each number of a 64-bit program.
pub const CALL_WORDS: usize = 8;

/// One rule of the `call` engine: which calls of a target, the gate, and how they fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallRule {
    /// Deadline, budget and dice.
    pub gate: Gate,
    /// Its name; where there is no rule, 0.
    pub id: u32,
    /// What the call fails with.
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

/// What a process does to something, wherever the kernel asks whether it may: the bits of [`CallRule::operations`].
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
    pub const ALL: [Self; 30] = [
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
            Self::Open => "open",
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

/// Families of sockets, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SocketFamily {
    /// IPv4.
    V4 = 1,
    /// IPv6.
    V6 = 2,
    /// Unix.
    Unix = 4,
    /// All others.
    Other = 8,
}

/// Which sockets a rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketFilter {
    /// Bits of [`SocketFamily`]; 0 is all.
    pub families: u32,
    /// Bits of [`Protocol`](super::Protocol); 0 is all, other protocols too.
    pub protocols: u32,
    /// A [`Remotes`](super::Remotes).
    pub remotes: u32,
    /// Zero.
    pub padding: u32,
    /// Ports of the other end, or, where a socket is bound or listens, its own.
    pub ports: PortSet,
}

/// How a system call was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Abi {
    /// By a 64-bit program.
    Native = 0,
    /// By a 32-bit program, or by `int 0x80`.
    Compat = 1,
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

/// Where the kernel keeps what programs read from its own structures, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallLayout {
    /// Of `struct task_struct`.
    pub task_fs: u32,
    /// Of `struct task_struct`.
    pub task_files: u32,
    /// Of `struct task_struct`.
    pub task_mm: u32,
    /// Of `struct task_struct`.
    pub task_cgroups: u32,
    /// Of `struct css_set`.
    pub css_set_dfl_cgrp: u32,
    /// Of `struct cgroup`.
    pub cgroup_level: u32,
    /// Of `struct cgroup`; 0 where they are not pointers.
    pub cgroup_ancestors: u32,
    /// Of `struct cgroup`, where there is no `ancestors`.
    pub cgroup_ancestor_ids: u32,
    /// Of `struct cgroup`.
    pub cgroup_kn: u32,
    /// Of `struct kernfs_node`.
    pub kn_id: u32,
    /// `root` of `struct fs_struct`.
    pub fs_root: u32,
    /// `pwd` of `struct fs_struct`.
    pub fs_pwd: u32,
    /// `fdt` of `struct files_struct`.
    pub files_fdt: u32,
    /// `max_fds` of `struct fdtable`.
    pub fdt_max: u32,
    /// `fd` of `struct fdtable`.
    pub fdt_fd: u32,
    /// `f_path` of `struct file`.
    pub file_path: u32,
    /// `f_inode` of `struct file`.
    pub file_inode: u32,
    /// `f_mode` of `struct file`.
    pub file_mode: u32,
    /// `f_flags` of `struct file`.
    pub file_flags: u32,
    /// `private_data` of `struct file`.
    pub file_private: u32,
    /// Of `struct path`.
    pub path_mnt: u32,
    /// Of `struct path`.
    pub path_dentry: u32,
    /// `d_parent` of `struct dentry`.
    pub dentry_parent: u32,
    /// The length of `d_name` of `struct dentry`.
    pub dentry_name_length: u32,
    /// The text of `d_name` of `struct dentry`.
    pub dentry_name: u32,
    /// `d_inode` of `struct dentry`.
    pub dentry_inode: u32,
    /// `i_mode` of `struct inode`.
    pub inode_mode: u32,
    /// `mnt_root` of `struct vfsmount`.
    pub vfsmount_root: u32,
    /// `mnt` of `struct mount`.
    pub mount_mnt: u32,
    /// `mnt_parent` of `struct mount`.
    pub mount_parent: u32,
    /// `mnt_mountpoint` of `struct mount`.
    pub mount_mountpoint: u32,
    /// `mnt_ns` of `struct mount`.
    pub mount_ns: u32,
    /// `exe_file` of `struct mm_struct`.
    pub mm_exe: u32,
    /// `brk` of `struct mm_struct`.
    pub mm_brk: u32,
    /// `file` of `struct linux_binprm`.
    pub binprm_file: u32,
    /// `sk` of `struct socket`.
    pub socket_sk: u32,
    /// `skc_family` of `struct sock_common`.
    pub sock_family: u32,
    /// `skc_dport` of `struct sock_common`; `skc_num` is behind it.
    pub sock_ports: u32,
    /// `skc_daddr` of `struct sock_common`.
    pub sock_daddr: u32,
    /// `skc_v6_daddr` of `struct sock_common`.
    pub sock_v6_daddr: u32,
    /// `sk_protocol` of `struct sock`.
    pub sock_protocol: u32,
}

/// One firing of a `call` rule: a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes))]
#[repr(C)]
pub struct CallEvent {
    /// When, on the boot clock.
    pub time_ns: u64,
    /// The event's number within its rule, from 0.
    pub n: u64,
    /// The rule.
    pub rule: u32,
    /// The process that called.
    pub pid: u32,
    /// The thread of it.
    pub thread: u32,
    /// What the call failed with.
    pub errno: u32,
    /// 1 if `number` is an [`Operation`], 0 if it is a system call for 64-bit programs.
    pub is_operation: u32,
    /// Which.
    pub number: u32,
}
