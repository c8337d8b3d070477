//! What is known of system calls: which functions of the kernel carry them out, and which of their arguments say what.

use std::sync::LazyLock;

use chaos_common::{
    abi::{Abi, MAX_CALLS, NO_ARGUMENT, SIZE_OF_BREAK, Signature},
    value::Syscall,
};
use syscalls::x86::Sysno as CompatSysno;

/// Numbers from which on programs of the x32 kind have calls of their own, and those calls
/// (`arch/x86/entry/syscalls/syscall_64.tbl`).
const X32: (u32, [&str; 36]) = (
    512,
    [
        "rt_sigaction",
        "rt_sigreturn",
        "ioctl",
        "readv",
        "writev",
        "recvfrom",
        "sendmsg",
        "recvmsg",
        "execve",
        "ptrace",
        "rt_sigpending",
        "rt_sigtimedwait",
        "rt_sigqueueinfo",
        "sigaltstack",
        "timer_create",
        "mq_notify",
        "kexec_load",
        "waitid",
        "set_robust_list",
        "get_robust_list",
        "vmsplice",
        "move_pages",
        "preadv",
        "pwritev",
        "rt_tgsigqueueinfo",
        "recvmmsg",
        "sendmmsg",
        "process_vm_readv",
        "process_vm_writev",
        "setsockopt",
        "getsockopt",
        "io_setup",
        "io_submit",
        "execveat",
        "preadv2",
        "pwritev2",
    ],
);

/// Names of 32-bit programs' calls that 64-bit programs know by another.
const COMPAT: &[(&str, &str)] = &[
    ("stat64", "stat"),
    ("lstat64", "lstat"),
    ("fstat64", "fstat"),
    ("fstatat64", "newfstatat"),
    ("truncate64", "truncate"),
    ("ftruncate64", "ftruncate"),
    ("sendfile64", "sendfile"),
    ("fcntl64", "fcntl"),
    ("mmap2", "mmap"),
    ("_llseek", "lseek"),
    ("chown32", "chown"),
    ("lchown32", "lchown"),
    ("fchown32", "fchown"),
    ("_newselect", "select"),
    ("ugetrlimit", "getrlimit"),
    ("waitpid", "wait4"),
    ("statfs64", "statfs"),
    ("fstatfs64", "fstatfs"),
    ("fadvise64_64", "fadvise64"),
    ("umount", "umount2"),
    ("recvmmsg_time64", "recvmmsg"),
    ("ppoll_time64", "ppoll"),
    ("pselect6_time64", "pselect6"),
    ("utimensat_time64", "utimensat"),
    ("futex_time64", "futex"),
    ("clock_nanosleep_time64", "clock_nanosleep"),
    ("rt_sigtimedwait_time64", "rt_sigtimedwait"),
];

/// Calls whose functions have another name.
const FUNCTIONS: &[(&str, &str)] = &[
    ("stat", "newstat"),
    ("lstat", "newlstat"),
    ("fstat", "newfstat"),
    ("uname", "newuname"),
    ("sendfile", "sendfile64"),
    ("umount2", "umount"),
    ("mmap2", "mmap_pgoff"),
    ("_llseek", "llseek"),
    ("ugetrlimit", "getrlimit"),
    ("_newselect", "select"),
    ("umount", "oldumount"),
    ("chown32", "chown"),
    ("lchown32", "lchown"),
    ("fchown32", "fchown"),
];

const NOTHING: Signature = Signature {
    native: 0,
    padding: 0,
    path: NO_ARGUMENT,
    at: NO_ARGUMENT,
    second_path: NO_ARGUMENT,
    second_at: NO_ARGUMENT,
    file: NO_ARGUMENT,
    size: NO_ARGUMENT,
    vector: NO_ARGUMENT,
    address: NO_ARGUMENT,
};

/// What the arguments of a call say.
pub(crate) fn signature(call: Syscall) -> Signature {
    let named = Signature { path: 0, ..NOTHING };
    let named_at = Signature { at: 0, path: 1, ..NOTHING };
    let open = Signature { file: 0, ..NOTHING };
    let sized = |size| Signature { file: 0, size, ..NOTHING };
    let memory = |size| Signature { size, ..NOTHING };
    let vector = Signature { file: 0, vector: 1, ..NOTHING };
    let signature = match call.name() {
        "open" | "creat" | "stat" | "lstat" | "access" | "truncate" | "chdir" | "rmdir"
        | "mkdir" | "unlink" | "readlink" | "chmod" | "chown" | "lchown" | "utime" | "utimes"
        | "mknod" | "statfs" | "execve" | "chroot" | "setxattr" | "lsetxattr" | "getxattr"
        | "lgetxattr" | "listxattr" | "llistxattr" | "removexattr" | "lremovexattr" | "umount2"
        | "swapon" | "swapoff" | "acct" => named,
        "rename" | "link" => Signature { path: 0, second_path: 1, ..NOTHING },
        // Where a symbolic link leads is any text.
        "symlink" => Signature { path: 1, ..NOTHING },
        "symlinkat" => Signature { at: 1, path: 2, ..NOTHING },
        "openat" | "openat2" | "mkdirat" | "mknodat" | "fchownat" | "futimesat" | "newfstatat"
        | "unlinkat" | "readlinkat" | "fchmodat" | "fchmodat2" | "faccessat" | "faccessat2"
        | "utimensat" | "execveat" | "statx" | "name_to_handle_at" => named_at,
        "renameat" | "renameat2" | "linkat" => {
            Signature { at: 0, path: 1, second_at: 2, second_path: 3, ..NOTHING }
        }
        "mount" => Signature { path: 1, ..NOTHING },
        "read" | "write" | "pread64" | "pwrite64" | "readahead" | "sync_file_range" => sized(2),
        "fallocate" | "sendfile" => sized(3),
        "splice" | "copy_file_range" => sized(4),
        "readv" | "writev" | "preadv" | "pwritev" | "preadv2" | "pwritev2" | "vmsplice" => vector,
        "fsync" | "fdatasync" | "syncfs" | "close" | "fstat" | "fchmod" | "fchown" | "fchdir"
        | "fcntl" | "ioctl" | "flock" | "ftruncate" | "lseek" | "getdents" | "getdents64"
        | "fadvise64" | "fsetxattr" | "fgetxattr" | "flistxattr" | "fremovexattr" | "dup"
        | "dup2" | "dup3" | "fstatfs" | "listen" | "accept" | "accept4" | "shutdown"
        | "getsockname" | "getpeername" | "setsockopt" | "getsockopt" | "sendmsg" | "recvmsg"
        | "sendmmsg" | "recvmmsg" | "epoll_ctl" | "epoll_wait" | "epoll_pwait" | "epoll_pwait2"
        | "tee" => open,
        "connect" | "bind" => Signature { file: 0, address: 1, ..NOTHING },
        "sendto" => Signature { address: 4, ..sized(2) },
        "recvfrom" => sized(2),
        "mmap" => Signature { file: 4, ..memory(1) },
        "mprotect" | "munmap" | "madvise" | "mlock" | "mlock2" | "msync" | "shmget" => memory(1),
        "mremap" => memory(2),
        "brk" => memory(SIZE_OF_BREAK),
        _ => NOTHING,
    };
    Signature { native: call.number() + 1, ..signature }
}

/// The same where a 32-bit program makes it, by the name that it has there.
fn compat_signature(name: &str, call: Syscall) -> Signature {
    let signature = signature(call);
    match name {
        // All arguments of the old one lie in memory.
        "mmap" => Signature { native: signature.native, ..NOTHING },
        // Numbers of 64 bits take two arguments, the lower half first.
        "readahead" | "sync_file_range" => Signature { size: 3, ..signature },
        "fallocate" => Signature { size: 4, ..signature },
        _ => signature,
    }
}

/// Where signatures lie in the programs' table: of each way to enter each call.
pub(in crate::kernel) fn table() -> Vec<(u32, Signature)> {
    let native = Syscall::all().map(|call| (u32::from(call.number()), signature(call)));
    let (first, names) = X32;
    let x32 = (first..)
        .zip(names)
        .filter_map(|(number, name)| Some((number, signature(Syscall::named(name)?))));
    let compat = COMPAT_CALLS.iter().map(|&(number, name, call)| {
        (Abi::Compat as u32 * MAX_CALLS as u32 + number, compat_signature(name, call))
    });
    let fits = |(at, _): &(u32, Signature)| *at < 2 * MAX_CALLS as u32;
    native.chain(x32).chain(compat).filter(fits).collect()
}

/// The calls of 32-bit programs: number, name, and what 64-bit programs have for it.
static COMPAT_CALLS: LazyLock<Vec<(u32, &'static str, Syscall)>> = LazyLock::new(|| {
    let all = CompatSysno::iter().filter_map(|call| {
        let name = call.name();
        let other = COMPAT.iter().find(|(compat, _)| *compat == name);
        let native = other.map_or(name, |(_, native)| native);
        Some((call.id() as u32, name, Syscall::named(native)?))
    });
    all.collect()
});

/// How the names of functions begin that carry out the calls of 32-bit programs, and of those of the x32 kind.
pub(in crate::kernel) const PREFIXES: [&str; 4] =
    ["__x64_compat_sys_", "__x32_compat_sys_", "__ia32_compat_sys_", "__ia32_sys_"];

/// A function of the kernel that may carry out a call, and how that is entered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel) struct Function {
    pub(in crate::kernel) name: String,
    pub(in crate::kernel) is_compat: bool,
}

/// The functions that may carry out a call; which there are depends on the kernel.
pub(in crate::kernel) fn functions(call: Syscall) -> Vec<Function> {
    let own = |name: &'static str| {
        FUNCTIONS.iter().find(|(call, _)| *call == name).map_or(name, |(_, function)| function)
    };
    let native = ["__x64_sys_", "__x64_compat_sys_", "__x32_compat_sys_"];
    let native = native
        .map(|prefix| Function { name: format!("{prefix}{}", own(call.name())), is_compat: false });
    let compat = COMPAT_CALLS.iter().filter(|(.., of)| *of == call).flat_map(|&(_, name, _)| {
        let prefixes = ["__ia32_compat_sys_", "__ia32_sys_"];
        let ia32 = ["__ia32_compat_sys_ia32_", "__ia32_sys_ia32_", "__ia32_compat_sys_x86_"];
        let plain = prefixes.map(|prefix| format!("{prefix}{}", own(name)));
        let ia32 = ia32.map(|prefix| format!("{prefix}{name}"));
        plain.into_iter().chain(ia32).map(|name| Function { name, is_compat: true })
    });
    let mut all: Vec<Function> = native.into_iter().chain(compat).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str) -> Syscall {
        Syscall::named(name).unwrap()
    }

    #[test]
    fn both_entries_lead_to_one_call() {
        let table = table();
        let at = |place: u32| table.iter().find(|(at, _)| *at == place).unwrap().1;
        // openat is 257 for 64-bit programs, and 295 for 32-bit ones.
        assert_eq!(at(257).native, 258);
        assert_eq!(at(MAX_CALLS as u32 + 295).native, 258);
        assert_eq!((at(257).at, at(257).path), (0, 1));
        // stat64 is 195.
        assert_eq!(at(MAX_CALLS as u32 + 195).native, call("stat").number() + 1);
        // fallocate is 324, readahead 225 and sync_file_range 314: numbers of 64 bits are two arguments.
        let compat = [324, 225, 314].map(|number| at(MAX_CALLS as u32 + number).size);
        assert_eq!(compat, [4, 3, 3]);
        let native = ["fallocate", "readahead", "sync_file_range"];
        assert_eq!(native.map(|name| signature(call(name)).size), [3, 2, 2]);
        // The x32 readv.
        assert_eq!(at(515).native, call("readv").number() + 1);
        let mut places: Vec<u32> = table.iter().map(|(at, _)| *at).collect();
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn functions_have_the_names_that_kernels_give_them() {
        let names = |name| -> Vec<String> {
            functions(call(name)).into_iter().map(|function| function.name).collect()
        };
        assert!(names("stat").contains(&"__x64_sys_newstat".to_owned()));
        assert!(names("stat").contains(&"__ia32_compat_sys_ia32_stat64".to_owned()));
        assert!(names("openat").contains(&"__ia32_compat_sys_openat".to_owned()));
        assert!(names("mmap").contains(&"__ia32_sys_mmap_pgoff".to_owned()));
    }
}
