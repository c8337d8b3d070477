//! Where the kernel has to ask about files with some paths: as narrowly as it can be said.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use chaos_common::{abi::Operation, value::PathGlob};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::{FileStat, Mode, fstat},
};
use procfs::process::MountInfo;

use super::HeldFiles;
use crate::kernel::KernelError;

/// The most directories that are marked one by one.
const MOST: usize = 4096;

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

/// What was marked: a mark on a file is everybody's, one on a mount only of those who see that mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    scope: Scope,
    device: u64,
    inode: u64,
    /// Of a mount: in which namespace.
    namespace: Option<(u64, u64)>,
}

/// A place to mark.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) mark: Mark,
    pub(super) scope: Scope,
    /// As its process says it.
    pub(super) path: PathBuf,
    pub(super) handle: OwnedFd,
    /// It lies in a file system that has no files but the kernel's.
    pub(super) is_of_kernel: bool,
    fs_type: String,
}

impl Place {
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

/// The places that cover some paths as a process sees them.
pub(super) fn places(
    pid: u32,
    namespace: (u64, u64),
    is_shared: bool,
    wanted: &HeldFiles,
) -> Result<Vec<Place>, KernelError> {
    let Some(view) = Root::of(pid)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (path, scope) in covering(&wanted.paths.0, &view.mounts, is_shared) {
        let paths = match scope {
            Cover::Scope(scope) => vec![(path, scope)],
            Cover::Tree => {
                let tree = view.tree(path).map_err(|problem| KernelError::Hook {
                    what: "look through",
                    place: format!("the directories of process {pid}"),
                    reason: problem,
                })?;
                tree.into_iter().map(|path| (path, Scope::Directory)).collect()
            }
        };
        found.extend(paths.into_iter().filter_map(|(path, scope)| {
            let (handle, seen) = view.open(&path)?;
            let mount = view.mount_of(&path)?;
            let namespace = (scope == Scope::Mount).then_some(namespace);
            Some(Place {
                mark: Mark { scope, device: seen.st_dev, inode: seen.st_ino, namespace },
                scope,
                is_of_kernel: is_of_kernel(&mount.fs_type),
                fs_type: mount.fs_type.clone(),
                path,
                handle,
            })
        }));
    }
    Ok(found)
}

/// What covers a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cover {
    Scope(Scope),
    /// Every directory from there on.
    Tree,
}

/// The places that cover patterns, in a tree of mounts. Where others share the mounts they are not marked.
fn covering(
    globs: &[PathGlob],
    mounts: &[MountInfo],
    is_shared: bool,
) -> BTreeSet<(PathBuf, Cover)> {
    let mut places = BTreeSet::new();
    for glob in globs {
        let (directory, rest) = split(glob);
        let below = || mounts.iter().filter(|mount| mount.mount_point.starts_with(&directory));
        if rest.contains('/') || rest.contains("**") {
            if is_shared {
                places.insert((directory.clone(), Cover::Tree));
                continue;
            }
            let around = mount_of(mounts, &directory).map(|mount| mount.mount_point.clone());
            let all = around.into_iter().chain(below().map(|mount| mount.mount_point.clone()));
            places.extend(all.map(|path| (path, Cover::Scope(Scope::Mount))));
            continue;
        }
        places.insert((directory.clone(), Cover::Scope(Scope::Directory)));
        if !is_pattern(&rest) {
            places.insert((directory.join(&rest), Cover::Scope(Scope::File)));
        }
        // What is mounted on a file lies in the directory by its name only.
        let mounted = below().filter(|mount| mount.mount_point.parent() == Some(&directory));
        places.extend(mounted.map(|mount| (mount.mount_point.clone(), Cover::Scope(Scope::File))));
    }
    places
}

/// The directory in which everything lies that a pattern is about, and what it says of the rest.
fn split(glob: &PathGlob) -> (PathBuf, String) {
    let text = glob.to_string();
    if !text.starts_with('/') {
        return (PathBuf::from("/"), format!("**/{text}"));
    }
    let plain = text.find(is_special).map_or(text.as_str(), |at| &text[..at]);
    let slash = plain.rfind('/').unwrap_or(0);
    let directory = if slash == 0 { "/" } else { &text[..slash] };
    (PathBuf::from(directory), text[slash + 1..].to_owned())
}

fn is_pattern(text: &str) -> bool {
    text.contains(is_special)
}

fn is_special(letter: char) -> bool {
    matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\')
}

/// The mount in which a path lies: of several at one place the last is on top.
fn mount_of<'a>(mounts: &'a [MountInfo], path: &Path) -> Option<&'a MountInfo> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
    around.max_by_key(|mount| mount.mount_point.components().count())
}

fn is_of_kernel(fs_type: &str) -> bool {
    matches!(
        fs_type,
        "proc"
            | "sysfs"
            | "cgroup"
            | "cgroup2"
            | "devpts"
            | "devtmpfs"
            | "mqueue"
            | "bpf"
            | "securityfs"
            | "debugfs"
            | "tracefs"
            | "configfs"
            | "pstore"
            | "binfmt_misc"
            | "fusectl"
            | "nsfs"
            | "hugetlbfs"
            | "autofs"
    )
}

/// What a process sees.
struct Root {
    handle: OwnedFd,
    mounts: Vec<MountInfo>,
}

impl Root {
    /// `None` when the process has ended.
    fn of(pid: u32) -> Result<Option<Self>, KernelError> {
        let root = format!("/proc/{pid}/root");
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let seen = open(root.as_str(), flags, Mode::empty()).map_err(io::Error::from);
        let seen = seen.and_then(|handle| {
            let lines = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
            let mounts = lines.lines().filter_map(|line| MountInfo::from_line(line).ok());
            Ok(Self { handle, mounts: mounts.collect() })
        });
        match seen {
            Ok(root) => Ok(Some(root)),
            Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
            Err(error) => {
                Err(KernelError::Hook { what: "look into", place: root, reason: error.to_string() })
            }
        }
    }

    fn mount_of(&self, path: &Path) -> Option<&MountInfo> {
        mount_of(&self.mounts, path)
    }

    /// A place, by the eyes of the process: no link leads out of its root. Nothing is opened that the kernel would ask
    /// about.
    fn open(&self, path: &Path) -> Option<(OwnedFd, FileStat)> {
        let handle = self.resolve(path, OFlag::O_PATH)?;
        let seen = fstat(&handle).ok()?;
        Some((handle, seen))
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> Option<OwnedFd> {
        let within = path.strip_prefix("/").ok()?;
        let within = if within.as_os_str().is_empty() { Path::new(".") } else { within };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.handle, within, how).ok()
    }

    /// A directory and all below it, without those of the kernel.
    fn tree(&self, top: PathBuf) -> Result<Vec<PathBuf>, String> {
        let mut found = vec![top.clone()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            let Some(handle) = self.resolve(&path, OFlag::O_PATH | OFlag::O_DIRECTORY) else {
                continue;
            };
            let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
            for entry in fs::read_dir(own).into_iter().flatten().flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                let below = path.join(entry.file_name());
                if self.mount_of(&below).is_some_and(|mount| is_of_kernel(&mount.fs_type)) {
                    continue;
                }
                if found.len() == MOST {
                    return Err(format!(
                        "{} has more than {MOST} directories, and other processes of this node share its mounts; name it more narrowly",
                        top.display()
                    ));
                }
                found.push(below);
            }
        }
        Ok(found)
    }
}

/// Where this process itself finds what a descriptor stands for.
pub(super) fn by_descriptor(descriptor: i32) -> (std::os::fd::BorrowedFd<'static>, String) {
    (AT_FDCWD, format!("/proc/self/fd/{descriptor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Vec<MountInfo> {
        let line = |id: u32, at: &str| {
            MountInfo::from_line(&format!("{id} 1 0:1 / {at} rw - ext4 none rw")).unwrap()
        };
        [(20, "/"), (21, "/data"), (22, "/data/in"), (23, "/etc/hosts"), (24, "/database")]
            .map(|(id, at)| line(id, at))
            .into()
    }

    fn covered(glob: &str, is_shared: bool) -> Vec<String> {
        let places = covering(&[glob.parse().unwrap()], &mounts(), is_shared);
        places.into_iter().map(|(path, cover)| format!("{} {cover:?}", path.display())).collect()
    }

    #[test]
    fn patterns_are_covered_narrowly() {
        let own = |glob| covered(glob, false);
        assert_eq!(own("/data/a/file"), ["/data/a Scope(Directory)", "/data/a/file Scope(File)"]);
        assert_eq!(own("/data/a/*.db"), ["/data/a Scope(Directory)"]);
        assert_eq!(own("/data/**"), ["/data Scope(Mount)", "/data/in Scope(Mount)"]);
        assert_eq!(own("/data/a/**"), ["/data Scope(Mount)"]);
        assert_eq!(own("/etc/h*"), ["/etc Scope(Directory)", "/etc/hosts Scope(File)"]);
        assert_eq!(own("/data/*/x"), ["/data Scope(Mount)", "/data/in Scope(Mount)"]);
        assert_eq!(own("/{data,etc}/x").len(), 5);
        assert_eq!(own("*.log").len(), 5);
        assert_eq!(covered("/data/**", true), ["/data Tree"]);
        assert_eq!(covered("*.log", true), ["/ Tree"]);
        assert_eq!(covered("/data/*", true)[0], "/data Scope(Directory)");
    }
}
