//! Where the kernel has to ask about files with some paths.

use std::{collections::BTreeSet, io, os::fd::OwnedFd, path::PathBuf};

use chaos_common::abi::Operation;
use nix::errno::Errno;

use super::{
    HeldFiles,
    cover::{Cover, covering},
    view::{Inode, MOST, View, inode},
};
use crate::kernel::KernelError;

/// Files of what the kernel asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// That file.
    File,
    /// Those in that directory.
    Directory,
    /// Those of the mount in which it lies.
    Mount,
}

/// A place, however it is called: what a mark is on.
pub(super) type Mark = (Scope, Inode);

/// A place to mark.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) scope: Scope,
    /// As its process says it.
    pub(super) path: PathBuf,
    pub(super) handle: OwnedFd,
    inode: Inode,
    fs_type: String,
}

impl Place {
    pub(super) const fn mark(&self) -> Mark {
        (self.scope, self.inode)
    }

    /// Why it could not be marked.
    pub(super) fn reason(&self, error: &io::Error, wanted: &HeldFiles) -> String {
        let is_refused = matches!(
            error.raw_os_error().map(Errno::from_raw),
            Some(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENODEV)
        );
        if is_refused && wanted.operations.contains(&Operation::Write) {
            return format!(
                "the kernel lets nobody hold what is written to {} ({error}); leave out `write`, or name files of another file system",
                self.fs_type
            );
        }
        error.to_string()
    }
}

/// The places that cover some paths as a process sees them, beside those that are known already.
pub(super) fn find(
    pid: u32,
    is_shared: bool,
    wanted: &HeldFiles,
    found: &mut Vec<Place>,
) -> Result<(), KernelError> {
    let Some(view) = View::of(pid)? else { return Ok(()) };
    let mut paths = BTreeSet::new();
    for (path, cover) in covering(&wanted.paths, &view.mounts, is_shared) {
        match cover {
            Cover::Scope(scope) => drop(paths.insert((path, scope))),
            Cover::Tree => {
                let tree = view.tree(path)?;
                paths.extend(tree.into_iter().map(|path| (path, Scope::Directory)));
            }
        }
    }
    for (path, scope) in paths {
        // Before anything there is touched.
        let Some(mount) = view.watchable(&path)? else { continue };
        let Some(handle) = view.open(&path)? else { continue };
        if found.len() == MOST {
            return Err(view.failed(format!(
                "more than {MOST} directories, files and mounts are to be watched; name them more narrowly"
            )));
        }
        let inode = inode(&handle).map_err(|error| view.failed(error.to_string()))?;
        found.push(Place { scope, path, handle, inode, fs_type: mount.fs_type.clone() });
    }
    Ok(())
}
