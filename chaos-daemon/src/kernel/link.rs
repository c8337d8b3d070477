//! What aya has no way to ask of a pinned link: where it is attached, and to detach it now.
//!
//! Removing a pin alone detaches only when the kernel gets round to freeing its inode, after an RCU
//! grace period and on a worker. A link attached in the meantime would judge the same packets again.

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
const BPF_OBJ_GET_INFO_BY_FD: i32 = 15;
/// Since Linux 5.9.
const BPF_LINK_DETACH: i32 = 34;

/// `bpf_link_info.type` of a link on a cgroup and of a tcx link.
const BPF_LINK_TYPE_CGROUP: u32 = 3;
const BPF_LINK_TYPE_TCX: u32 = 11;

/// What a link is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The cgroup with this id.
    Cgroup(u64),
    /// The interface with this index, in the namespace in which it was attached.
    Interface(u32),
}

/// Where the link that is pinned at a path is attached; `None` if its place is gone, or it was detached.
///
/// # Errors
/// When there is no pin, or it is not one of a link.
pub(super) fn place(pin: &Path) -> io::Result<Option<Place>> {
    let link = get(pin)?;
    let mut info = LinkInfo::default();
    let request = ObjectInfo {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &request)?;
    Ok(match info.kind {
        // A union follows: of a cgroup's link a 64-bit id, of a tcx link a 32-bit index.
        BPF_LINK_TYPE_CGROUP if info.place != 0 => Some(Place::Cgroup(info.place)),
        BPF_LINK_TYPE_TCX => match info.place.to_ne_bytes() {
            [a, b, c, d, ..] => match u32::from_ne_bytes([a, b, c, d]) {
                0 => None,
                index => Some(Place::Interface(index)),
            },
        },
        _ => None,
    })
}

/// Detaches the link that is pinned at a path. The pin stays.
///
/// # Errors
/// When there is no pin, or it is not one of a link.
pub(super) fn detach(pin: &Path) -> io::Result<()> {
    let link = get(pin)?;
    bpf(BPF_LINK_DETACH, &LinkDetach { link_fd: link.as_raw_fd() as u32 })?;
    Ok(())
}

/// What `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_OBJ_GET_INFO_BY_FD` reads.
#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The head of `struct bpf_link_info`.
#[derive(Default)]
#[repr(C)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    place: u64,
    attach_type: u64,
}

/// What `BPF_LINK_DETACH` reads.
#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

fn get(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let request = ObjectGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    let link = bpf(BPF_OBJ_GET, &request)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(link) })
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as it is told from a record of that size. What a record points
    // to outlives the call: a path that is read, and an info that is written up to the length beside it.
    let status = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status as i32) }
}
