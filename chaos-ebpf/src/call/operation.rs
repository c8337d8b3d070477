//! What processes do, where the kernel asks its security modules whether they may: one function for each of these
//! `security_…` functions, with the arguments of that. Those of system calls are covered, and those of `io_uring` too.

use chaos_common::abi::Operation;

use super::{
    What,
    condition::Call,
    file::Given,
    judge::{self, Judge},
    layout::offset,
    place::{Place, Seen},
    prefilter,
};
use crate::memory::{follow, number, read};

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

    /// An argument that is an open file.
    #[inline(always)]
    fn file(self, at: usize) -> Given {
        // SAFETY: as `new` demands, with the order of the arguments.
        unsafe { Given::new(self.pointer(at)) }
    }

    /// An argument that is a `struct path`.
    #[inline(always)]
    fn place(self, at: usize) -> Seen {
        // SAFETY: as above.
        unsafe { Seen::at(self.pointer(at), 0) }
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
fn at(operation: Operation, place: Place) -> Option<Call> {
    call(operation, place.dentry, place.mount, 0)
}

/// Something done to an open file.
#[inline(always)]
fn on(operation: Operation, file: Given) -> Option<Call> {
    if file.is_inner() {
        return None;
    }
    at(operation, file.place().place()?)
}

/// Something done to what has a `struct path`.
#[inline(always)]
fn of_path(operation: Operation, path: Seen) -> Option<Call> {
    let place = path.place()?;
    if place.is_inner() {
        return None;
    }
    at(operation, place)
}

/// Something done to a name in a directory.
#[inline(always)]
fn in_directory(operation: Operation, directory: u64, dentry: u64, third: u64) -> Option<Call> {
    call(operation, dentry, read(directory, offset!(path_mnt))?, third)
}

macro_rules! operations {
    ($(
        $(#[$doc:meta])*
        $name:ident($context:ident): $($operation:ident)|+ $(, at $place:expr)? => $find:expr;
    )*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub fn $name<K: Judge>($context: Context) -> u32 {
            const OPERATIONS: u64 = $(Operation::$operation.bit())|+;
            let place = || operations!(@place $($place)?);
            let admits =
                |filter: &_| prefilter::admits_operation::<K>(filter, OPERATIONS, place);
            judge::errno::<K>(|cgroup| prefilter::leaves_out(cgroup, admits), || $find)
        }
    )*};
    (@place) => { None };
    (@place $place:expr) => { Some($place) };
}

operations! {
    /// `security_file_open(file)`
    file_open(context): Open | Made, at context.file(0).place() => {
        let file = context.file(0);
        // What is run is asked about later.
        if file.is_run() {
            return None;
        }
        // What is made was asked about when there was nothing yet.
        on(if file.is_new() { Operation::Made } else { Operation::Open }, file)
    };
    /// `security_path_mknod(dir, dentry, mode, dev)`
    path_mknod(context): Create => {
        in_directory(Operation::Create, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_file_permission(file, mask)`
    file_permission(context): Read | Write | List, at context.file(0).place() => {
        /// `MAY_WRITE` and `MAY_APPEND`.
        const WRITE: u64 = 2 | 8;
        let file = context.file(0);
        // To run a program the kernel itself reads how it begins.
        if file.is_run() {
            return None;
        }
        let operation = if context.value(1) & WRITE != 0 {
            Operation::Write
        } else if file.is_directory() {
            Operation::List
        } else {
            Operation::Read
        };
        on(operation, file)
    };
    /// `security_path_truncate(path)`
    path_truncate(context): Truncate, at context.place(0) => of_path(Operation::Truncate, context.place(0));
    /// `security_file_truncate(file)`
    file_truncate(context): Truncate, at context.file(0).place() => on(Operation::Truncate, context.file(0));
    /// `security_path_rename(old_dir, old_dentry, new_dir, new_dentry, flags)`
    path_rename(context): Rename => {
        let (directory, old, new) = (context.number(0)?, context.number(1)?, context.number(3)?);
        in_directory(Operation::Rename, directory, old, new)
    };
    /// `security_path_unlink(dir, dentry)`
    path_unlink(context): Unlink => {
        in_directory(Operation::Unlink, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_path_mkdir(dir, dentry, mode)`
    path_mkdir(context): Mkdir => {
        in_directory(Operation::Mkdir, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_path_rmdir(dir, dentry)`
    path_rmdir(context): Rmdir => {
        in_directory(Operation::Rmdir, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_path_link(old_dentry, new_dir, new_dentry)`
    path_link(context): Link => {
        let (old, directory, new) = (context.number(0)?, context.number(1)?, context.number(2)?);
        in_directory(Operation::Link, directory, new, old)
    };
    /// `security_path_symlink(dir, dentry, old_name)`
    path_symlink(context): Symlink => {
        in_directory(Operation::Symlink, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_inode_getattr(path)`
    inode_getattr(context): Stat, at context.place(0) => of_path(Operation::Stat, context.place(0));
    /// `security_path_chmod(path, mode)`
    path_chmod(context): Chmod, at context.place(0) => of_path(Operation::Chmod, context.place(0));
    /// `security_path_chown(path, uid, gid)`
    path_chown(context): Chown, at context.place(0) => of_path(Operation::Chown, context.place(0));
    /// `security_mmap_file(file, prot, flags)`
    mmap_file(context): Map => {
        // Memory of no file; asked as a number, which nobody takes for a file.
        if context.number(0)? == 0 {
            return None;
        }
        on(Operation::Map, context.file(0))
    };
    /// `security_bprm_check(bprm)`
    bprm_check(context): Exec => {
        // SAFETY: a `struct file`, says the kernel.
        on(Operation::Exec, unsafe {
            Given::new(follow(context.pointer(0), offset!(binprm_file)))
        })
    };
    /// `security_file_lock(file, cmd)`
    file_lock(context): Lock, at context.file(0).place() => on(Operation::Lock, context.file(0));
    /// `security_file_ioctl(file, cmd, arg)`
    file_ioctl(context): Ioctl, at context.file(0).place() => on(Operation::Ioctl, context.file(0));
    /// `security_socket_create(family, type, protocol, kern)`
    socket_create(context): Socket => {
        if context.value(3) as u32 != 0 {
            return None;
        }
        let [family, kind, protocol] = [0, 1, 2].map(|at| u64::from(context.value(at) as u32));
        call(Operation::Socket, family, kind, protocol)
    };
    /// `security_socket_bind(sock, address, addrlen)`
    socket_bind(context): Bind => {
        call(Operation::Bind, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_socket_connect(sock, address, addrlen)`
    socket_connect(context): Connect => {
        call(Operation::Connect, context.number(0)?, context.number(1)?, 0)
    };
    /// `security_socket_listen(sock, backlog)`
    socket_listen(context): Listen => call(Operation::Listen, context.number(0)?, 0, 0);
    /// `security_socket_accept(sock, newsock)`
    socket_accept(context): Accept => call(Operation::Accept, context.number(0)?, 0, 0);
    /// `security_socket_sendmsg(sock, msg, size)`
    socket_sendmsg(context): Send => {
        // `msg_name`, with which `struct msghdr` begins.
        let name = read(context.number(1)?, 0)?;
        call(Operation::Send, context.number(0)?, name, u64::from(context.value(2) as u32))
    };
    /// `security_socket_recvmsg(sock, msg, size, flags)`
    socket_recvmsg(context): Receive => {
        call(Operation::Receive, context.number(0)?, 0, u64::from(context.value(2) as u32))
    };
    /// `security_vm_enough_memory_mm(mm, pages)`
    vm_enough_memory_mm(context): Allocate => {
        /// Of x86-64.
        const PAGE: u64 = 4096;
        call(Operation::Allocate, 0, 0, context.value(1).wrapping_mul(PAGE))
    };
    /// `security_task_alloc(task, clone_flags)`
    task_alloc(_context): Fork => call(Operation::Fork, 0, 0, 0);
    /// `security_file_alloc(file)`
    file_alloc(_context): Descriptor => call(Operation::Descriptor, 0, 0, 0);
}
