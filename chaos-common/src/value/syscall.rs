//! System calls, by their names and in groups.

use std::{collections::BTreeSet, fmt, str::FromStr};

use syscalls::x86_64::Sysno;

use crate::invalid::{Invalid, shown};

/// A system call of 64-bit programs on x86-64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Syscall(Sysno);

impl Syscall {
    /// All that can fail, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        Sysno::iter().map(Self).filter(|call| call.has_result())
    }

    /// As the kernel has it.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0.id() as u16
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// The one with a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        name.parse().ok().map(Self).filter(|call| call.has_result())
    }

    /// The one with a number.
    #[must_use]
    pub fn of_number(number: u32) -> Option<Self> {
        Sysno::new(number as usize).map(Self).filter(|call| call.has_result())
    }

    fn has_result(self) -> bool {
        !HAVE_NO_RESULT.contains(&self.name())
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Calls that do not come back, or do not with a result of their own.
const HAVE_NO_RESULT: &[&str] = &["exit", "exit_group", "rt_sigreturn", "restart_syscall"];

/// The variants of calls: the first one's name stands for all.
const VARIANTS: &[&[&str]] = &[
    &["open", "openat", "openat2", "creat"],
    &["read", "readv", "pread64", "preadv", "preadv2"],
    &["write", "writev", "pwrite64", "pwritev", "pwritev2"],
    &["fsync", "fdatasync"],
    &["stat", "lstat", "fstat", "newfstatat", "statx"],
    &["access", "faccessat", "faccessat2"],
    &["rename", "renameat", "renameat2"],
    &["link", "linkat"],
    &["symlink", "symlinkat"],
    &["unlink", "unlinkat"],
    &["mkdir", "mkdirat"],
    &["mknod", "mknodat"],
    &["chmod", "fchmod", "fchmodat", "fchmodat2"],
    &["chown", "lchown", "fchown", "fchownat"],
    &["truncate", "ftruncate"],
    &["readlink", "readlinkat"],
    &["getdents", "getdents64"],
    &["statfs", "fstatfs"],
    &["dup", "dup2", "dup3"],
    &["pipe", "pipe2"],
    &["accept", "accept4"],
    &["send", "sendto", "sendmsg", "sendmmsg"],
    &["recv", "recvfrom", "recvmsg", "recvmmsg"],
    &["clone", "clone3", "fork", "vfork"],
    &["execve", "execveat"],
    &["wait", "wait4", "waitid"],
    &["poll", "ppoll"],
    &["select", "pselect6"],
    &["epoll_wait", "epoll_pwait", "epoll_pwait2"],
    &["epoll_create", "epoll_create1"],
    &["eventfd", "eventfd2"],
    &["inotify_init", "inotify_init1"],
    &["signalfd", "signalfd4"],
    &["umount", "umount2"],
];

/// Groups of calls.
const CLASSES: &[(&str, &[&str])] = &[
    (
        "file",
        &[
            "open",
            "stat",
            "access",
            "rename",
            "link",
            "symlink",
            "unlink",
            "mkdir",
            "rmdir",
            "mknod",
            "chmod",
            "chown",
            "truncate",
            "readlink",
            "chdir",
            "chroot",
            "statfs",
            "utime",
            "utimes",
            "utimensat",
            "futimesat",
            "setxattr",
            "lsetxattr",
            "getxattr",
            "lgetxattr",
            "listxattr",
            "llistxattr",
            "removexattr",
            "lremovexattr",
            "execve",
            "mount",
            "umount",
            "read",
            "write",
            "fsync",
            "lseek",
            "fallocate",
            "getdents",
            "sendfile",
            "copy_file_range",
            "sync_file_range",
            "syncfs",
            "flock",
        ],
    ),
    (
        "descriptor",
        &[
            "read",
            "write",
            "close",
            "lseek",
            "dup",
            "fcntl",
            "ioctl",
            "fsync",
            "poll",
            "select",
            "epoll_wait",
            "epoll_ctl",
            "epoll_create",
            "eventfd",
            "signalfd",
            "timerfd_create",
            "inotify_init",
            "pipe",
            "sendfile",
            "splice",
            "tee",
            "vmsplice",
            "copy_file_range",
            "fallocate",
            "getdents",
            "flock",
        ],
    ),
    (
        "network",
        &[
            "socket",
            "socketpair",
            "bind",
            "connect",
            "listen",
            "accept",
            "send",
            "recv",
            "shutdown",
            "getsockname",
            "getpeername",
            "getsockopt",
            "setsockopt",
        ],
    ),
    (
        "process",
        &["clone", "execve", "wait", "kill", "tkill", "tgkill", "setpgid", "setsid", "unshare"],
    ),
    (
        "memory",
        &[
            "mmap",
            "brk",
            "mremap",
            "mprotect",
            "munmap",
            "madvise",
            "mlock",
            "mlock2",
            "mlockall",
            "msync",
            "memfd_create",
            "shmget",
            "shmat",
        ],
    ),
];

/// One name for calls: `open` is every variant of it, `=openat` is that call alone, and `@file` is a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyscallName {
    text: String,
    calls: Vec<Syscall>,
}

impl SyscallName {
    /// What it stands for.
    #[must_use]
    pub fn calls(&self) -> &[Syscall] {
        &self.calls
    }
}

/// The variants of a name, or the call of that name alone.
fn variants(name: &str) -> Vec<Syscall> {
    match VARIANTS.iter().find(|variants| variants[0] == name) {
        Some(variants) => variants.iter().filter_map(|name| Syscall::named(name)).collect(),
        None => Syscall::named(name).into_iter().collect(),
    }
}

impl FromStr for SyscallName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let of_text = |calls| Self { text: text.to_owned(), calls };
        if let Some(class) = text.strip_prefix('@') {
            let found = CLASSES.iter().find(|(name, _)| *name == class);
            let (_, names) = found.ok_or_else(|| {
                let names: Vec<_> = CLASSES.iter().map(|(name, _)| format!("@{name}")).collect();
                Invalid::new(format!(
                    "{} is no group of system calls; give one of {}",
                    shown(text),
                    names.join(", ")
                ))
            })?;
            let calls: BTreeSet<Syscall> = names.iter().flat_map(|name| variants(name)).collect();
            return Ok(of_text(calls.into_iter().collect()));
        }
        let alone = text.strip_prefix('=');
        let calls = match alone {
            Some(name) => Syscall::named(name).into_iter().collect(),
            None => variants(text),
        };
        if !calls.is_empty() {
            return Ok(of_text(calls));
        }
        let name = alone.unwrap_or(text);
        if HAVE_NO_RESULT.contains(&name) {
            return Err(Invalid::new(format!(
                "{name} does not come back, so it cannot fail; name another call"
            )));
        }
        Err(Invalid::new(format!(
            "{} is no system call of x86-64; name one as open, =openat or @file",
            shown(text)
        )))
    }
}

impl SyscallName {
    /// Whether that call alone is meant, and none that does the same.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.text.starts_with('=')
    }
}

impl fmt::Display for SyscallName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

super::serde_as_text!(SyscallName, "the name of a system call, as open, =openat or @file");

/// Which system calls: at least one.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<SyscallName>", into = "Vec<SyscallName>")]
pub struct Syscalls(Vec<SyscallName>);

impl Syscalls {
    /// As they were named.
    #[must_use]
    pub fn names(&self) -> &[SyscallName] {
        &self.0
    }

    /// Each once, by number.
    #[must_use]
    pub fn calls(&self) -> BTreeSet<Syscall> {
        self.0.iter().flat_map(|name| name.calls.iter().copied()).collect()
    }
}

impl TryFrom<Vec<SyscallName>> for Syscalls {
    type Error = Invalid;

    fn try_from(names: Vec<SyscallName>) -> Result<Self, Invalid> {
        if names.is_empty() {
            return Err(Invalid::new("is empty; name at least one, as open or @file"));
        }
        Ok(Self(names))
    }
}

impl From<Syscalls> for Vec<SyscallName> {
    fn from(calls: Syscalls) -> Self {
        calls.0
    }
}

impl fmt::Display for Syscalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if n > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<&'static str> {
        text.parse::<SyscallName>().unwrap().calls().iter().map(|call| call.name()).collect()
    }

    #[test]
    fn a_name_stands_for_its_variants() {
        assert_eq!(names("open"), ["open", "openat", "openat2", "creat"]);
        assert_eq!(names("=openat"), ["openat"]);
        assert_eq!(names("openat"), ["openat"]);
        assert_eq!(names("getppid"), ["getppid"]);
        assert_eq!(names("send"), ["sendto", "sendmsg", "sendmmsg"]);
        assert!(names("@network").contains(&"accept4"));
        assert!(names("@file").contains(&"pwritev2"));
        assert_eq!(Syscall::named("openat").map(Syscall::number), Some(257));
    }

    #[test]
    fn every_name_in_the_tables_is_one() {
        for variants in VARIANTS {
            // The first may be a name of the C library's alone.
            assert!(
                variants[1..].iter().all(|name| Syscall::named(name).is_some()),
                "{variants:?}"
            );
        }
        for (_, names) in CLASSES {
            assert!(names.iter().all(|name| !variants(name).is_empty()), "{names:?}");
        }
    }

    #[test]
    fn what_is_no_call_is_told_apart() {
        let problem = |text: &str| text.parse::<SyscallName>().unwrap_err().problem;
        assert!(problem("opne").contains("is no system call of x86-64"));
        assert!(problem("exit_group").contains("does not come back"));
        assert!(problem("@disk").contains("give one of @file, @descriptor, @network"));
        assert!(problem("=send").contains("is no system call"));
    }
}
