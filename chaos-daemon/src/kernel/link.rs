//! What aya has no way to ask of a link: where it is attached, and to detach it now.
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
/// Since Linux 5.8.
const BPF_LINK_GET_FD_BY_ID: i32 = 30;
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

/// A link, as the kernel tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its name in the kernel, which is not given twice for a long time.
    id: u32,
    /// `None` if its place is gone, or it was detached.
    pub(super) place: Option<Place>,
}

impl Link {
    /// The link that is pinned at a path.
    ///
    /// # Errors
    /// When there is no pin, or it is not one of a link.
    pub(super) fn pinned(pin: &Path) -> io::Result<Self> {
        Self::of(&get(pin)?)
    }

    /// Detaches it, wherever its pin may be now. One that is gone, or detached, is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn detach(self) -> io::Result<()> {
        let request = GetById { id: self.id, next_id: 0, open_flags: 0 };
        let there = match bpf(BPF_LINK_GET_FD_BY_ID, &request) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            descriptor => owned(descriptor?),
        };
        // The id may be another link's by now.
        if self.place.is_some() && Self::of(&there)? == self { detach_link(&there) } else { Ok(()) }
    }

    fn of(link: &OwnedFd) -> io::Result<Self> {
        let mut info = LinkInfo::default();
        let request = ObjectInfo {
            bpf_fd: link.as_raw_fd() as u32,
            info_len: size_of::<LinkInfo>() as u32,
            info: (&raw mut info) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &request)?;
        // A union follows: of a cgroup's link a 64-bit id, of a tcx link a 32-bit index.
        let [a, b, c, d, ..] = info.place.to_ne_bytes();
        let place = match (info.kind, info.place, u32::from_ne_bytes([a, b, c, d])) {
            (BPF_LINK_TYPE_CGROUP, 1.., _) => Some(Place::Cgroup(info.place)),
            (BPF_LINK_TYPE_TCX, _, index @ 1..) => Some(Place::Interface(index)),
            _ => None,
        };
        Ok(Self { id: info.id, place })
    }
}

/// Detaches the link that is pinned at a path. The pin stays.
///
/// # Errors
/// When there is no pin, or it is not one of a link.
pub(super) fn detach_pinned(pin: &Path) -> io::Result<()> {
    detach_link(&get(pin)?)
}

fn detach_link(link: &OwnedFd) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &LinkDetach { link_fd: link.as_raw_fd() as u32 }).map(drop)
}

/// What `BPF_OBJ_GET` reads.
#[repr(C)]
struct ObjectGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

/// What `BPF_LINK_GET_FD_BY_ID` reads.
#[repr(C)]
struct GetById {
    id: u32,
    next_id: u32,
    open_flags: u32,
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
    bpf(BPF_OBJ_GET, &request).map(owned)
}

/// A descriptor that a command has just returned.
fn owned(descriptor: i32) -> OwnedFd {
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
    // SAFETY: the kernel reads as many bytes as it is told from a record of that size. What a record points
    // to outlives the call: a path that is read, and an info that is written up to the length beside it.
    let status = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>())
    };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status as i32) }
}
