//! Paths of files, as the process that calls would say them: from its own root on.

use chaos_common::abi::{GLOB_DEAD, Glob};

use super::{
    caller::task,
    file,
    glob::{Patterns, call_text},
    layout::offset,
    place::{Place, is_internal},
};
use crate::memory::{read, read_user};

/// Names and mounts that a path can have.
const MAX_STEPS: usize = 48;
/// `AT_FDCWD`.
const HERE: i32 = -100;

/// Whether the path of a place fits the patterns of a rule.
#[inline(always)]
pub(super) fn fits(place: Place, patterns: Patterns) -> bool {
    let state = patterns.start();
    Glob::accepts(call_walk(patterns.0, state, place.dentry, place.mount, 1))
}

/// Of the directory in which paths of the process begin that begin with no slash.
#[inline(always)]
fn directory(descriptor: i32) -> Option<Place> {
    if descriptor == HERE {
        let own = read::<u64>(task(), offset!(task_fs))?;
        return Place::at(own + u64::from(offset!(fs_pwd)));
    }
    Place::of_file(file::open(descriptor)?)
}

/// Whether a path that a process named fits the patterns of a rule, beginning where it says.
#[inline(always)]
pub(super) fn named_fits(patterns: Patterns, text: u64, directory: i32) -> bool {
    let Some(first) = read_user::<u8>(text) else { return false };
    // As with `AT_EMPTY_PATH`: the directory itself is meant, whatever it is.
    if first == 0 {
        return self::directory(directory).is_some_and(|place| fits(place, patterns));
    }
    let state = call_text(patterns.0, patterns.start(), text);
    if first == b'/' {
        return Glob::accepts(state);
    }
    let state = patterns.step(state, b'/');
    let Some(place) = self::directory(directory) else { return false };
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
