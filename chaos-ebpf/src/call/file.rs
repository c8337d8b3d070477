//! Open files.

use chaos_common::abi::FileKind;

use super::{caller::task, layout::offset};
use crate::memory::read;

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

/// Whether the kernel has opened a file for its own purposes: `overlay` does, below each of its files, and asks a
/// second time.
#[inline(always)]
pub(super) fn is_inner(file: u64) -> bool {
    /// `FMODE_NOACCOUNT`.
    const NO_ACCOUNT: u32 = 1 << 29;
    has_mode(file, NO_ACCOUNT)
}

/// Whether opening a file has made it.
#[inline(always)]
pub(super) fn is_new(file: u64) -> bool {
    /// `FMODE_CREATED`.
    const CREATED: u32 = 1 << 20;
    has_mode(file, CREATED)
}

/// Whether a file is opened to be run.
#[inline(always)]
pub(super) fn is_run(file: u64) -> bool {
    /// `__FMODE_EXEC`, which is a flag.
    const EXEC: u32 = 1 << 5;
    read::<u32>(file, offset!(file_flags)).is_some_and(|flags| flags & EXEC != 0)
}

#[inline(always)]
fn has_mode(file: u64, mode: u32) -> bool {
    read::<u32>(file, offset!(file_mode)).is_some_and(|has| has & mode != 0)
}
