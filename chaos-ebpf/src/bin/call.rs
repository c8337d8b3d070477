//! Engine `call`: calls into the kernel that fail.
//!
//! * System calls, where they begin (`__x64_sys_…`, `__ia32_sys_…`): by programs that replace what the function returns
//!   (`fmod_ret`), or that return in its place (`bpf_override_return`). The same program serves all of them. One of the
//!   first kind is loaded for one function; so each function gets an entrance, which goes on with the program.
//! * What processes do, where the kernel asks its security modules whether they may (`security_…`): see
//!   `chaos_ebpf::call::operation`.
//!
//! The loader knows programs of the first and third kind by their names only: aya has none of that kind. They give back
//! 64 bits, which the kernel hands on as they are.
//!
//! Of each there is one for new kernels and one for old ones.
#![no_std]
#![no_main]

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::pt_regs,
    helpers::generated::bpf_override_return,
    macros::kprobe,
    programs::{FEntryContext, ProbeContext},
};
use chaos_common::abi::Abi;
use chaos_ebpf::call::{
    generation::{New, Old},
    judge::Judge,
    operation::{self, Context},
    syscall,
};

/// Programs that replace what a function returns.
macro_rules! replace {
    ($($kernel:ty: $($name:ident = $errno:expr),*;)*) => {$($(
        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("fentry/", stringify!($name)))]
        extern "C" fn $name(context: *const u64) -> i64 {
            // SAFETY: the loader attaches the program to the function whose arguments it reads.
            let context = unsafe { Context::new(context) };
            let errno: fn(Context) -> u32 = $errno;
            -i64::from(errno(context))
        }
    )*)*};
}

/// Entrances of programs that replace what a function returns: they go on for calls that a rule may be about.
macro_rules! entrances {
    ($($name:ident = $kernel:ty, $abi:ident;)*) => {$(
        #[unsafe(no_mangle)]
        #[unsafe(link_section = concat!("fentry/", stringify!($name)))]
        extern "C" fn $name(context: *mut c_void) -> i64 {
            const IS_COMPAT: bool = matches!(Abi::$abi, Abi::Compat);
            // SAFETY: the loader attaches the program to a function whose argument points to registers.
            let may_fail = unsafe {
                let registers = Context::new(context.cast()).pointer(0);
                syscall::may_fail::<$kernel, IS_COMPAT>(registers)
            };
            if may_fail {
                syscall::go_on(&FEntryContext::new(context), Abi::$abi);
            }
            0
        }
    )*};
}

/// Of operations the programs have the names of the functions of the kernel that they belong to.
macro_rules! operations {
    ($($name:ident $old:ident = $operation:ident;)*) => {
        replace! {
            New: $($name = operation::$operation::<New>),*;
            Old: $($old = operation::$operation::<Old>),*;
        }
    };
}

replace! {
    New:
        call_native = |context| syscall::errno::<New, false>(context.pointer(0)),
        call_compat = |context| syscall::errno::<New, true>(context.pointer(0));
    Old:
        call_native_old = |context| syscall::errno::<Old, false>(context.pointer(0)),
        call_compat_old = |context| syscall::errno::<Old, true>(context.pointer(0));
}

entrances! {
    enter_native = New, Native;
    enter_compat = New, Compat;
    enter_native_old = Old, Native;
    enter_compat_old = Old, Compat;
}

operations! {
    file_open file_open_old = file_open;
    path_mknod path_mknod_old = path_mknod;
    file_permission file_permission_old = file_permission;
    path_truncate path_truncate_old = path_truncate;
    file_truncate file_truncate_old = file_truncate;
    path_rename path_rename_old = path_rename;
    path_unlink path_unlink_old = path_unlink;
    path_mkdir path_mkdir_old = path_mkdir;
    path_rmdir path_rmdir_old = path_rmdir;
    path_link path_link_old = path_link;
    path_symlink path_symlink_old = path_symlink;
    inode_getattr inode_getattr_old = inode_getattr;
    path_chmod path_chmod_old = path_chmod;
    path_chown path_chown_old = path_chown;
    mmap_file mmap_file_old = mmap_file;
    bprm_check bprm_check_old = bprm_check;
    file_lock file_lock_old = file_lock;
    file_ioctl file_ioctl_old = file_ioctl;
    socket_create socket_create_old = socket_create;
    socket_bind socket_bind_old = socket_bind;
    socket_connect socket_connect_old = socket_connect;
    socket_listen socket_listen_old = socket_listen;
    socket_accept socket_accept_old = socket_accept;
    socket_sendmsg socket_sendmsg_old = socket_sendmsg;
    socket_recvmsg socket_recvmsg_old = socket_recvmsg;
    vm_enough_memory_mm vm_enough_memory_mm_old = vm_enough_memory_mm;
    task_alloc task_alloc_old = task_alloc;
    file_alloc file_alloc_old = file_alloc;
}

#[kprobe]
fn call_override_native(ctx: ProbeContext) -> u32 {
    instead::<New, false>(&ctx)
}

#[kprobe]
fn call_override_compat(ctx: ProbeContext) -> u32 {
    instead::<New, true>(&ctx)
}

#[kprobe]
fn call_override_native_old(ctx: ProbeContext) -> u32 {
    instead::<Old, false>(&ctx)
}

#[kprobe]
fn call_override_compat_old(ctx: ProbeContext) -> u32 {
    instead::<Old, true>(&ctx)
}

/// Lets the function that is about to begin return at once.
#[inline(always)]
fn instead<K: Judge, const IS_COMPAT: bool>(ctx: &ProbeContext) -> u32 {
    let registers: Option<*const u8> = ctx.arg(0);
    let errno = registers.map_or(0, |registers| syscall::errno_at_once::<K, IS_COMPAT>(registers));
    if errno != 0 {
        // SAFETY: the context is valid while the program runs.
        unsafe {
            let _ = bpf_override_return(ctx.as_ptr().cast::<pt_regs>(), (-i64::from(errno)) as u64);
        }
    }
    0
}

#[cfg(not(test))]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
