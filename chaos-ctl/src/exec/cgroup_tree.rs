//! Takes a tree of cgroups away. What lives in it is moved out and never ended.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use chaos_common::target::CgroupPath;
use chaos_daemon::target::{self, CgroupRoot, TargetError};

/// How long to go after processes that fork or end at this moment.
const PATIENCE: Duration = Duration::from_secs(2);

const PAUSE: Duration = Duration::from_millis(10);

/// Processes that were moved out: what they are called, by id.
pub(super) type Moved = BTreeMap<u32, String>;

/// Why a cgroup stays.
#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    /// Nobody knows what lives in it.
    #[error("its processes cannot be listed: {0}")]
    List(#[from] TargetError),
    /// A process that cannot leave.
    #[error("process {pid} cannot be moved out of it into {}: {source}", into.display())]
    Move { pid: u32, into: PathBuf, source: io::Error },
    /// A directory that cannot go.
    #[error("{} cannot be removed: {source}", dir.display())]
    Remove { dir: PathBuf, source: io::Error },
}

/// Moves all processes below `top` to the cgroup `into` and removes the cgroups, from the bottom up.
/// Done again until nothing is left: a process that forks meanwhile leaves its child behind.
///
/// A threaded cgroup's threads go with their process. Also where it fails, what was moved is told.
pub(super) fn dissolve(
    root: &CgroupRoot,
    top: &CgroupPath,
    into: &CgroupPath,
) -> (Moved, Result<(), Obstacle>) {
    let (dir, into) = (root.dir(top), root.dir(into));
    let mut moved = Moved::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let emptied = target::pids_below(root, top)
            .map_err(Obstacle::from)
            .and_then(|pids| pids.into_iter().try_for_each(|pid| evict(pid, &into, &mut moved)));
        match emptied.and_then(|()| remove(&dir)) {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            done => return (moved, done),
        }
    }
}

fn evict(pid: u32, into: &Path, moved: &mut Moved) -> Result<(), Obstacle> {
    match fs::write(into.join("cgroup.procs"), pid.to_string()) {
        Ok(()) => {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            moved.insert(pid, name.trim_end().to_owned());
            Ok(())
        }
        // It has ended meanwhile.
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        Err(source) => Err(Obstacle::Move { pid, into: into.to_owned(), source }),
    }
}

/// Removes a tree of cgroups from the bottom up. One that is gone already is fine.
///
/// # Errors
/// At the first one that cannot be removed, as one with a process in it.
pub(super) fn remove(top: &Path) -> Result<(), Obstacle> {
    for dir in top_down(top).into_iter().rev() {
        match fs::remove_dir(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Obstacle::Remove { dir, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether no process lives in a cgroup or below it. What cannot be read counts as inhabited.
pub(super) fn is_deserted(top: &Path) -> bool {
    fs::read_to_string(top.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 0"))
}

/// Names of the cgroups in a directory.
pub(super) fn children(dir: &Path) -> Vec<OsString> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.file_name()).collect()
}

/// A cgroup and all below it, parents before children.
fn top_down(top: &Path) -> Vec<PathBuf> {
    let mut found = vec![top.to_owned()];
    let mut next = 0;
    while let Some(dir) = found.get(next).cloned() {
        found.extend(children(&dir).into_iter().map(|name| dir.join(name)));
        next += 1;
    }
    found
}

#[cfg(test)]
mod tests;
