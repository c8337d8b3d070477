//! Paths of files, as the process that calls would say them: from its own root on.

use chaos_common::abi::{GLOB_DEAD, Glob};

use super::{
    caller::task,
    glob::{Patterns, call_text},
    layout::offset,
};
use crate::memory::{follow, number, read, read_user};

/// Names and mounts that a path can have.
const MAX_STEPS: usize = 48;
/// `AT_FDCWD`.
const HERE: i32 = -100;

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

    /// Of the directory in which paths of the process begin that begin with no slash.
    #[inline(always)]
    fn directory(descriptor: i32) -> Option<Self> {
        if descriptor == HERE {
            let own = read::<u64>(task(), offset!(task_fs))?;
            return Self::at(own + u64::from(offset!(fs_pwd)));
        }
        Self::of_file(super::file::open(descriptor)?)
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

    /// Whether its path fits the patterns of a rule.
    #[inline(always)]
    pub(super) fn fits(self, patterns: Patterns) -> bool {
        let state = patterns.start();
        Glob::accepts(call_walk(patterns.0, state, self.dentry, self.mount, 1))
    }
}

/// Whether a mount is in no process's tree (`MNT_NS_INTERNAL`, an error in the place of a pointer).
#[inline(always)]
const fn is_internal(tree: u64) -> bool {
    tree >= (-4095_i64) as u64
}

/// Whether a path that a process named fits the patterns of a rule, beginning where it says.
#[inline(always)]
pub(super) fn named_fits(patterns: Patterns, text: u64, directory: i32) -> bool {
    let Some(first) = read_user::<u8>(text) else { return false };
    // As with `AT_EMPTY_PATH`: the directory itself is meant, whatever it is.
    if first == 0 {
        return Place::directory(directory).is_some_and(|place| place.fits(patterns));
    }
    let state = call_text(patterns.0, patterns.start(), text);
    if first == b'/' {
        return Glob::accepts(state);
    }
    let state = patterns.step(state, b'/');
    let Some(place) = Place::directory(directory) else { return false };
    state != GLOB_DEAD && Glob::accepts(call_walk(patterns.0, state, place.dentry, place.mount, 0))
}

/// The state after the path of a place, of which nothing was read yet if it is bare. [`GLOB_DEAD`] for what has no path: pipes and sockets, files of
/// `memfd_create`, what lies on a mount that is gone. A global function: see [`glob`](super::glob).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_walk(patterns: u64, state: u32, dentry: u64, mount: u64, is_bare: u32) -> u32 {
    walk(Patterns(patterns), state, Place { dentry, mount }, is_bare != 0).unwrap_or(GLOB_DEAD)
}

#[inline(always)]
fn walk(patterns: Patterns, mut state: u32, mut place: Place, mut is_bare: bool) -> Option<u32> {
    let own = read::<u64>(task(), offset!(task_fs))?;
    let root = Place::at(own + u64::from(offset!(fs_root)))?;
    for _ in 0..MAX_STEPS {
        if state == GLOB_DEAD {
            return None;
        }
        if place == root {
            return Some(if is_bare { patterns.step(state, b'/') } else { state });
        }
        if place.dentry == read::<u64>(place.mount, offset!(vfsmount_root))? {
            let mount = place.mount - u64::from(offset!(mount_mnt));
            let parent = read::<u64>(mount, offset!(mount_parent))?;
            if parent == mount {
                // The top of a tree of mounts, not the process's own root; inside of the kernel it is no tree at all.
                let tree = read::<u64>(mount, offset!(mount_ns))?;
                let state = if is_bare { patterns.step(state, b'/') } else { state };
                return (tree != 0 && !is_internal(tree)).then_some(state);
            }
            place.dentry = read(mount, offset!(mount_mountpoint))?;
            place.mount = parent + u64::from(offset!(mount_mnt));
            continue;
        }
        let parent = read::<u64>(place.dentry, offset!(dentry_parent))?;
        if parent == place.dentry {
            return None;
        }
        let length = read::<u32>(place.dentry, offset!(dentry_name_length))?;
        let name = read::<u64>(place.dentry, offset!(dentry_name))?;
        state = patterns.name(state, name, length);
        is_bare = false;
        place.dentry = parent;
    }
    None
}
