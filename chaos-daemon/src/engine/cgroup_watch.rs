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
    watches: HashMap<PathBuf, Watch>,
    paths: HashMap<WatchDescriptor, PathBuf>,
}

struct Watch {
    /// None once the kernel dropped it with its file.
    descriptor: Option<WatchDescriptor>,
    /// How many targets need it.
    users: usize,
}

impl CgroupWatch {
    pub(super) fn new() -> nix::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { inotify, watches: HashMap::new(), paths: HashMap::new() })
    }

    /// Watches a target's directory.
    pub(super) fn add(&mut self, dir: &Path) {
        for (path, flags) in paths(dir) {
            let there = self.watches.get(&path);
            let descriptor = there.and_then(|watch| watch.descriptor);
            let descriptor = descriptor.or_else(|| self.inotify.add_watch(&path, flags).ok());
            let users = there.map_or(0, |watch| watch.users) + 1;
            self.paths.extend(descriptor.map(|descriptor| (descriptor, path.clone())));
            self.watches.insert(path, Watch { descriptor, users });
        }
    }

    /// Undoes one [`CgroupWatch::add`].
    pub(super) fn remove(&mut self, dir: &Path) {
        for (path, _) in paths(dir) {
            let Some(watch) = self.watches.get_mut(&path) else { continue };
            watch.users -= 1;
            if watch.users == 0 {
                if let Some(descriptor) = watch.descriptor {
                    self.paths.remove(&descriptor);
                    // It may just have been dropped with its file.
                    let _ = self.inotify.rm_watch(descriptor);
                }
                self.watches.remove(&path);
            }
        }
    }

    /// Takes what was heard.
    pub(super) fn take(&mut self) -> Heard {
        let mut heard = Heard::default();
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                heard.removed |= event.mask.contains(AddWatchFlags::IN_DELETE);
                heard.populated |= event.mask.contains(AddWatchFlags::IN_MODIFY);
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    heard = Heard { removed: true, populated: true };
                }
                if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.forget(event.wd);
                }
            }
        }
        heard
    }

    /// The file is gone, and with it the watch. A file that comes under the same name gets its own.
    fn forget(&mut self, descriptor: WatchDescriptor) {
        let path = self.paths.remove(&descriptor);
        if let Some(watch) = path.and_then(|path| self.watches.get_mut(&path)) {
            watch.descriptor = None;
        }
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
