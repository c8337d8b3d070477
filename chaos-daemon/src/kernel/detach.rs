//! Detaches a pinned link now.
//!
//! Removing the pin alone does so only when the kernel gets round to freeing its inode, after an RCU
//! grace period and on a worker. A link attached in the meantime would judge the same packets again.
//! aya has neither the command nor a way to a link's descriptor.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// Commands of bpf(2).
const BPF_OBJ_GET: i32 = 7;
/// Since Linux 5.9.
const BPF_LINK_DETACH: i32 = 34;

/// What `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_LINK_DETACH` reads.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

/// Detaches the link that is pinned at a path. The pin stays.
pub(super) fn pinned(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let get = ObjGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    let link = bpf(BPF_OBJ_GET, &get)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    let link = unsafe { OwnedFd::from_raw_fd(link) };
    bpf(BPF_LINK_DETACH, &LinkDetach { link_fd: link.as_raw_fd() as u32 })?;
    Ok(())
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as it is told from a record of that size, and no command
    // above writes to it. The path that one of them points to outlives the call.
    let status = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status as i32) }
}
