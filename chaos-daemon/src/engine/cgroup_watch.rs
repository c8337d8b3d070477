//! Word of a target's cgroup being removed, or getting its first process.
//!
//! A removed cgroup tells only those who watch its parent; a cgroup whose first process came modifies
//! its `cgroup.events`. Where the kernel has no watches left, the engine's slow clock still notices.

use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// What was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// A cgroup beside or at a target was removed.
    pub(super) removed: bool,
    /// A target got its first process or lost its last.
    pub(super) populated: bool,
}

/// Watches on the cgroups of all targets.
pub(super) struct CgroupWatch {
    inotify: Inotify,
    /// Path → its watch and how many targets need it.
    watches: HashMap<PathBuf, (WatchDescriptor, usize)>,
}

impl CgroupWatch {
    pub(super) fn new() -> nix::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { inotify, watches: HashMap::new() })
    }

    /// Watches a target's directory.
    pub(super) fn add(&mut self, dir: &Path) {
        for (path, flags) in paths(dir) {
            if let Some((_, users)) = self.watches.get_mut(&path) {
                *users += 1;
            } else if let Ok(watch) = self.inotify.add_watch(&path, flags) {
                self.watches.insert(path, (watch, 1));
            }
        }
    }

    /// Undoes one [`CgroupWatch::add`].
    pub(super) fn remove(&mut self, dir: &Path) {
        for (path, _) in paths(dir) {
            if let Some((watch, users)) = self.watches.get_mut(&path) {
                *users -= 1;
                if *users == 0 {
                    // The kernel drops the watch of a file that is gone by itself.
                    let _ = self.inotify.rm_watch(*watch);
                    self.watches.remove(&path);
                }
            }
        }
    }

    /// Takes what was heard.
    pub(super) fn take(&self) -> Heard {
        let mut heard = Heard::default();
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                heard.removed |= event.mask.contains(AddWatchFlags::IN_DELETE);
                heard.populated |= event.mask.contains(AddWatchFlags::IN_MODIFY);
            }
        }
        heard
    }
}

impl AsFd for CgroupWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn paths(dir: &Path) -> impl Iterator<Item = (PathBuf, AddWatchFlags)> {
    let parent = dir.parent().map(|parent| (parent.to_owned(), AddWatchFlags::IN_DELETE));
    parent.into_iter().chain([(dir.join("cgroup.events"), AddWatchFlags::IN_MODIFY)])
}
