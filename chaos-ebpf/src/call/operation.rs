//! What processes do, where the kernel asks its security modules whether they may: one function for each of these
//! `security_…` functions, with the arguments of that. Those of system calls are covered, and those of `io_uring` too.

use chaos_common::abi::{FileKind, Operation};

use super::{What, caller::Kernel, condition::Call, file, judge, layout::offset, path::Place};
use crate::memory::{number, read};

/// The arguments of a function of the kernel, as its programs get them.
#[derive(Clone, Copy)]
pub struct Context(*const u64);

impl Context {
    /// As the program got it.
    ///
    /// # Safety
    /// It is the context of a program that is attached to a function with as many arguments as are asked for.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn new(context: *const u64) -> Self {
        Self(context)
    }

    /// A pointer, as it comes.
    #[inline(always)]
    #[must_use]
    pub fn pointer(self, at: usize) -> *const u8 {
        // SAFETY: as `new` demands. Volatile, so that nothing is read that the verifier does not know of.
        unsafe { self.0.cast::<*const u8>().add(at).read_volatile() }
    }

    /// An argument as a number. One that is a pointer is only copied by way of the kernel.
    #[inline(always)]
    fn number(self, at: usize) -> Option<u64> {
        number(self.pointer(at))
    }

    /// An argument that is no pointer.
    #[inline(always)]
    fn value(self, at: usize) -> u64 {
        // SAFETY: as above.
        unsafe { self.0.add(at).read_volatile() }
    }
}

#[inline(always)]
fn call(operation: Operation, first: u64, second: u64, third: u64) -> Option<Call> {
    Some(Call { what: What::operation(operation), first, second, third })
}

/// Something done to what lies at a place.
#[inline(always)]
fn at(operation: Operation, place: Place, third: u64) -> Option<Call> {
    call(operation, place.dentry, place.mount, third)
}

/// Something done to an open file.
#[inline(always)]
fn on(operation: Operation, file: u64, third: u64) -> Option<Call> {
    if file == 0 || file::is_inner(file) {
        return None;
    }
    at(operation, Place::of_file(file)?, third)
}

/// Something done to what has a `struct path`.
#[inline(always)]
fn of_path(operation: Operation, path: u64) -> Option<Call> {
    let place = Place::at(path)?;
    if place.is_inner() {
        return None;
    }
    at(operation, place, 0)
}

/// Something done to a name in a directory.
#[inline(always)]
fn in_directory(operation: Operation, directory: u64, dentry: u64, third: u64) -> Option<Call> {
    call(operation, dentry, read(directory, offset!(path_mnt))?, third)
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = |$context:ident| $find:expr;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<K: Kernel>($context: Context) -> u32 {
            judge::errno::<K>(|| $find)
        }
    )*};
}

operations! {
    /// `security_file_open(file)`
    file_open = |context| {
        let file = context.number(0)?;
        // What is run is asked about later.
        if file::is_run(file) {
            return None;
        }
        // What is made was asked about when there was nothing yet.
        on(if file::is_new(file) { Operation::Made } else { Operation::Open }, file, 0)
    };
    /// `security_path_mknod(dir, dentry, mode, dev)`
    path_mknod = |context| {
        in_directory(Operation::Create, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_file_permission(file, mask)`
    file_permission = |context| {
        /// `MAY_WRITE` and `MAY_APPEND`.
        const WRITE: u64 = 2 | 8;
        let file = context.number(0)?;
        // To run a program the kernel itself reads how it begins.
        if file::is_run(file) {
            return None;
        }
        let operation = if context.value(1) & WRITE != 0 {
            Operation::Write
        } else if matches!(file::kind(file), Some(FileKind::Directory)) {
            Operation::List
        } else {
            Operation::Read
        };
        on(operation, file, 0)
    };
    /// `security_path_truncate(path)`
    path_truncate = |context| of_path(Operation::Truncate, context.number(0)?);
    /// `security_file_truncate(file)`
    file_truncate = |context| on(Operation::Truncate, context.number(0)?, 0);
    /// `security_path_rename(old_dir, old_dentry, new_dir, new_dentry, flags)`
    path_rename = |context| {
        let (directory, old, new) = (context.number(0)?, context.number(1)?, context.number(3)?);
        in_directory(Operation::Rename, directory, old, new)
    };
    /// `security_path_unlink(dir, dentry)`
    path_unlink = |context| {
        in_directory(Operation::Unlink, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_path_mkdir(dir, dentry, mode)`
    path_mkdir = |context| {
        in_directory(Operation::Mkdir, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_path_rmdir(dir, dentry)`
    path_rmdir = |context| {
        in_directory(Operation::Rmdir, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_path_link(old_dentry, new_dir, new_dentry)`
    path_link = |context| {
        let (old, directory, new) = (context.number(0)?, context.number(1)?, context.number(2)?);
        in_directory(Operation::Link, directory, new, old)
    };
    /// `security_path_symlink(dir, dentry, old_name)`
    path_symlink = |context| {
        in_directory(Operation::Symlink, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_inode_getattr(path)`
    inode_getattr = |context| of_path(Operation::Stat, context.number(0)?);
    /// `security_path_chmod(path, mode)`
    path_chmod = |context| of_path(Operation::Chmod, context.number(0)?);
    /// `security_path_chown(path, uid, gid)`
    path_chown = |context| of_path(Operation::Chown, context.number(0)?);
    /// `security_mmap_file(file, prot, flags)`
    mmap_file = |context| on(Operation::Map, context.number(0)?, 0);
    /// `security_bprm_check(bprm)`
    bprm_check = |context| {
        on(Operation::Exec, read(context.number(0)?, offset!(binprm_file))?, 0)
    };
    /// `security_file_lock(file, cmd)`
    file_lock = |context| on(Operation::Lock, context.number(0)?, 0);
    /// `security_file_ioctl(file, cmd, arg)`
    file_ioctl = |context| on(Operation::Ioctl, context.number(0)?, 0);
    /// `security_socket_create(family, type, protocol, kern)`
    socket_create = |context| {
        if context.value(3) as u32 != 0 {
            return None;
        }
        let [family, kind, protocol] = [0, 1, 2].map(|at| u64::from(context.value(at) as u32));
        call(Operation::Socket, family, kind, protocol)
    };
    /// `security_socket_bind(sock, address, addrlen)`
    socket_bind = |context| {
        call(Operation::Bind, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_socket_connect(sock, address, addrlen)`
    socket_connect = |context| {
        call(Operation::Connect, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_socket_listen(sock, backlog)`
    socket_listen = |context| call(Operation::Listen, context.number(0)?, 0, 0);
    /// `security_socket_accept(sock, newsock)`
    socket_accept = |context| call(Operation::Accept, context.number(0)?, 0, 0);
    /// `security_socket_sendmsg(sock, msg, size)`
    socket_sendmsg = |context| {
        // `msg_name`, with which `struct msghdr` begins.
        let name = read(context.number(1)?, 0)?;
        call(Operation::Send, context.number(0)?, name, u64::from(context.value(2) as u32))
    };
    /// `security_socket_recvmsg(sock, msg, size, flags)`
    socket_recvmsg = |context| {
        call(Operation::Receive, context.number(0)?, 0, u64::from(context.value(2) as u32))
    };
    /// `security_vm_enough_memory_mm(mm, pages)`
    vm_enough_memory_mm = |context| {
        /// Of x86-64.
        const PAGE: u64 = 4096;
        call(Operation::Allocate, 0, 0, context.value(1).wrapping_mul(PAGE))
    };
    /// `security_task_alloc(task, clone_flags)`
    task_alloc = |_context| call(Operation::Fork, 0, 0, 0);
    /// `security_file_alloc(file)`
    file_alloc = |_context| call(Operation::Descriptor, 0, 0, 0);
}
