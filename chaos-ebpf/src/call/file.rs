//! Open files.

use chaos_common::abi::FileKind;

use super::{caller::task, layout::offset, place::Seen};
use crate::memory::{follow, read};

/// The file behind a descriptor of the running process.
#[inline(always)]
pub(super) fn open(descriptor: i32) -> Option<u64> {
    let files = read::<u64>(task(), offset!(task_files)).filter(|files| *files != 0)?;
    let table = read::<u64>(files, offset!(files_fdt))?;
    if descriptor < 0 || descriptor as u32 >= read::<u32>(table, offset!(fdt_max))? {
        return None;
    }
    let array = read::<u64>(table, offset!(fdt_fd))?;
    let slot = array + descriptor as u64 * size_of::<u64>() as u64;
    read::<u64>(slot, 0).filter(|file| *file != 0)
}

/// Of what kind an open file is.
#[inline(always)]
pub(super) fn kind(file: u64) -> Option<FileKind> {
    of_inode(read(file, offset!(file_inode))?)
}

/// Of what kind that is which has a name.
#[inline(always)]
pub(super) fn kind_of_dentry(dentry: u64) -> Option<FileKind> {
    of_inode(read(dentry, offset!(dentry_inode))?)
}

#[inline(always)]
fn of_inode(inode: u64) -> Option<FileKind> {
    if inode == 0 {
        return None;
    }
    read::<u16>(inode, offset!(inode_mode)).map(|mode| FileKind::of_mode(mode.into()))
}

/// A file that the kernel gives to a program; what is none is none of all this.
#[derive(Clone, Copy)]
pub(super) struct Given(*const u8);

impl Given {
    /// # Safety
    /// The verifier knows the pointer as one to a `struct file`.
    #[inline(always)]
    pub(super) const unsafe fn new(file: *const u8) -> Self {
        Self(file)
    }

    /// Where it lies.
    #[inline(always)]
    pub(super) fn place(self) -> Seen {
        // SAFETY: as `new` demands.
        unsafe { Seen::at(self.0, offset!(file_path)) }
    }

    /// Whether the kernel has opened it for its own purposes: `overlay` does, below each of its files, and asks a
    /// second time.
    #[inline(always)]
    pub(super) fn is_inner(self) -> bool {
        /// `FMODE_NOACCOUNT`.
        const NO_ACCOUNT: u32 = 1 << 29;
        self.has_mode(NO_ACCOUNT)
    }

    /// Whether opening it has made it.
    #[inline(always)]
    pub(super) fn is_new(self) -> bool {
        /// `FMODE_CREATED`.
        const CREATED: u32 = 1 << 20;
        self.has_mode(CREATED)
    }

    /// Whether it is opened to be run.
    #[inline(always)]
    pub(super) fn is_run(self) -> bool {
        /// `__FMODE_EXEC`, which is a flag.
        const EXEC: u32 = 1 << 5;
        // SAFETY: as `new` demands.
        let flags: u32 = unsafe { follow(self.0, offset!(file_flags)) };
        flags & EXEC != 0
    }

    /// Whether it is a directory.
    #[inline(always)]
    pub(super) fn is_directory(self) -> bool {
        // SAFETY: as `new` demands.
        let mode: u16 = unsafe {
            let inode: *const u8 = follow(self.0, offset!(file_inode));
            follow(inode, offset!(inode_mode))
        };
        FileKind::of_mode(mode.into()) as u32 == FileKind::Directory as u32
    }

    #[inline(always)]
    fn has_mode(self, mode: u32) -> bool {
        // SAFETY: as `new` demands.
        let has: u32 = unsafe { follow(self.0, offset!(file_mode)) };
        has & mode != 0
    }
}
