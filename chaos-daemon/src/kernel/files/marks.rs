//! Where the kernel has to ask about files with some paths: as narrowly as it can be said.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
};

use chaos_common::{abi::Operation, value::PathGlob};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
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

/// A place to mark.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) scope: Scope,
    /// As its process says it.
    pub(super) path: PathBuf,
    pub(super) handle: OwnedFd,
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
    is_shared: bool,
    wanted: &HeldFiles,
) -> Result<Vec<Place>, KernelError> {
    let failed = |problem| KernelError::Hook {
        what: "find files in",
        place: format!("what process {pid} sees"),
        reason: problem,
    };
    let Some(view) = Root::of(pid)? else { return Ok(Vec::new()) };
    if view.mounts.len() > MOST {
        return Err(failed(format!("there are more than {MOST} mounts")));
    }
    let mut paths = BTreeSet::new();
    for (path, cover) in covering(&wanted.paths, &view.mounts, is_shared) {
        match cover {
            Cover::Scope(scope) => drop(paths.insert((path, scope))),
            Cover::Tree => {
                let tree = view.tree(path).map_err(failed)?;
                paths.extend(tree.into_iter().map(|path| (path, Scope::Directory)));
            }
        }
    }
    let mut found = Vec::new();
    for (path, scope) in paths {
        let Some(mount) = view.mount_of(&path).filter(|mount| !is_of_kernel(mount)) else {
            continue;
        };
        if let Some(reason) = waits_for_a_server(&mount.fs_type) {
            return Err(KernelError::Hook {
                what: "watch",
                place: path.display().to_string(),
                reason,
            });
        }
        let fs_type = mount.fs_type.clone();
        found.extend(view.open(&path).map(|handle| Place { scope, path, handle, fs_type }));
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

/// File systems that have no files but the kernel's, and devices.
fn is_of_kernel(mount: &MountInfo) -> bool {
    const KINDS: [&str; 19] = [
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "devpts",
        "devtmpfs",
        "mqueue",
        "bpf",
        "securityfs",
        "debugfs",
        "tracefs",
        "configfs",
        "pstore",
        "binfmt_misc",
        "fusectl",
        "nsfs",
        "hugetlbfs",
        "autofs",
        "rpc_pipefs",
    ];
    // Runtimes mount a tmpfs for devices, and lxcfs over files of `/proc`.
    let is_theirs = ["/dev", "/proc", "/sys"].iter().any(|at| mount.mount_point.starts_with(at));
    let is_memory = mount.mount_point.starts_with("/dev/shm");
    KINDS.contains(&mount.fs_type.as_str()) || is_theirs && !is_memory
}

/// Why files of a file system are not held whose calls wait for another process or machine already: then that, and all who
/// need the same directory, would wait for each other.
fn waits_for_a_server(fs_type: &str) -> Option<String> {
    const KINDS: [&str; 10] =
        ["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "lustre", "gfs2"];
    let is_one = fs_type == "fuse" || fs_type.starts_with("fuse.") || KINDS.contains(&fs_type);
    is_one.then(|| {
        format!("calls on {fs_type} wait for a server, and cannot be held besides; name files of other file systems")
    })
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
            Ok(Self { handle, mounts: mounts.map(unescaped).collect() })
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

    /// A place, by the eyes of the process. No link is followed, as rules know paths without any. Nothing is opened that
    /// the kernel would ask about.
    fn open(&self, path: &Path) -> Option<OwnedFd> {
        self.resolve(path, OFlag::O_PATH)
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> Option<OwnedFd> {
        let within = path.strip_prefix("/").ok()?;
        let within = if within.as_os_str().is_empty() { Path::new(".") } else { within };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
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
                let is_left_out = |mount: &MountInfo| {
                    is_of_kernel(mount) || waits_for_a_server(&mount.fs_type).is_some()
                };
                if self.mount_of(&below).is_some_and(is_left_out) {
                    // What others serve is refused by whoever looks at the place itself.
                    if self.mounts.iter().any(|mount| mount.mount_point == below) {
                        found.push(below);
                    }
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

/// With its place as it is: `mountinfo` has octal numbers for spaces and the like.
fn unescaped(mut mount: MountInfo) -> MountInfo {
    let mut bytes = Vec::new();
    let mut rest = mount.mount_point.as_os_str().as_encoded_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *first == b'\\').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        bytes.push(digits.unwrap_or(*first));
        rest = if digits.is_some() { &behind[3..] } else { behind };
    }
    mount.mount_point = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_mounts_are_read_as_they_are() {
        let line = r"21 1 0:1 / /my\040data\134x rw - ext4 none rw";
        let mount = unescaped(MountInfo::from_line(line).unwrap());
        assert_eq!(mount.mount_point, Path::new(r"/my data\x"));
    }

    #[test]
    fn what_a_server_serves_is_left_alone() {
        for (kind, at, is_of_kernel) in [
            ("tmpfs", "/dev", true),
            ("tmpfs", "/dev/shm", false),
            ("proc", "/p", true),
            ("ext4", "/data", false),
        ] {
            let line = format!("21 1 0:1 / {at} rw - {kind} none rw");
            assert_eq!(
                super::is_of_kernel(&MountInfo::from_line(&line).unwrap()),
                is_of_kernel,
                "{at}"
            );
        }
        assert!(
            waits_for_a_server("fuse.mergerfs").is_some() && waits_for_a_server("nfs4").is_some()
        );
        assert!(waits_for_a_server("ext4").is_none() && waits_for_a_server("fuseblk").is_none());
    }

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
