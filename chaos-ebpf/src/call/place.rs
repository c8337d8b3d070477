//! Places in the tree of files.

use super::layout::offset;
use crate::memory::{follow, number, read};

/// A place in the tree of files: a `struct path`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) dentry: u64,
    pub(super) mount: u64,
}

/// The same by pointers to be followed.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) dentry: *const u8,
    pub(super) mount: *const u8,
}

impl Seen {
    /// # Safety
    /// The verifier knows the pointer as one to a structure that has a `struct path` so many bytes from its beginning.
    #[inline(always)]
    pub(super) unsafe fn at(holder: *const u8, path: u32) -> Self {
        // SAFETY: as above.
        unsafe {
            Self {
                dentry: follow(holder, path + offset!(path_dentry)),
                mount: follow(holder, path + offset!(path_mnt)),
            }
        }
    }

    /// As others take it; `None` for none.
    #[inline(always)]
    pub(super) fn place(self) -> Option<Place> {
        let dentry = number(self.dentry).filter(|dentry| *dentry != 0)?;
        Some(Place { dentry, mount: number(self.mount)? })
    }
}

impl Place {
    /// As a `struct path` in the kernel's memory has it.
    #[inline(always)]
    pub(super) fn at(path: u64) -> Option<Self> {
        Some(Self {
            dentry: read(path, offset!(path_dentry))?,
            mount: read(path, offset!(path_mnt))?,
        })
    }

    /// Of an open file.
    #[inline(always)]
    pub(super) fn of_file(file: u64) -> Option<Self> {
        Self::at(file + u64::from(offset!(file_path)))
    }

    /// Whether it lies on a mount that the kernel has made for its own purposes: `overlay` does, for each of its layers,
    /// and before Linux 6.7 asks a second time there. So do pipes, sockets and files of `memfd_create`, each of which is
    /// the top of a tree of its own; those are asked about once.
    #[inline(always)]
    pub(super) fn is_inner(self) -> bool {
        let mount = self.mount - u64::from(offset!(mount_mnt));
        let tree = read::<u64>(mount, offset!(mount_ns)).unwrap_or(0);
        let has_parent = || {
            read::<u64>(self.dentry, offset!(dentry_parent)) != Some(self.dentry)
                || read::<u64>(self.mount, offset!(vfsmount_root)) == Some(self.dentry)
        };
        is_internal(tree) && has_parent()
    }
}

/// Whether a mount is in no process's tree (`MNT_NS_INTERNAL`, an error in the place of a pointer).
#[inline(always)]
pub(super) const fn is_internal(tree: u64) -> bool {
    tree >= (-4095_i64) as u64
}
