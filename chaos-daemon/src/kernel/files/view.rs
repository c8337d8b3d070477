//! What a process sees of files: its root directory, and what is mounted there.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};
use procfs::process::MountInfo;
use rustix::fs::{AtFlags, StatxFlags, statx};

use super::{
    cover::mount_of,
    filesystem::{is_of_kernel, waits_for_a_server},
};
use crate::kernel::KernelError;

/// The most directories, and the most mounts.
pub(super) const MOST: usize = 4096;

/// Something that has a device and an inode.
pub(super) type Inode = (u64, u64);

/// A mount namespace, and a root directory in it.
pub(super) type Identity = [Inode; 2];

/// What a process sees.
pub(super) struct View {
    pid: u32,
    root: OwnedFd,
    pub(super) mounts: Vec<MountInfo>,
    /// What the node's first process has mounted.
    node: Vec<MountInfo>,
}

impl View {
    /// Which view a process has; `None` when it has ended.
    ///
    /// # Errors
    /// When that cannot be told.
    pub(super) fn identity(pid: u32) -> Result<Option<Identity>, KernelError> {
        let namespace = || {
            let namespace = fs::metadata(format!("/proc/{pid}/ns/mnt"))?;
            Ok((namespace.dev(), namespace.ino()))
        };
        let seen = namespace().and_then(|namespace| Ok([namespace, inode(&root(pid)?)?]));
        known(seen, || format!("/proc/{pid}/root"))
    }

    /// `None` when the process has ended.
    pub(super) fn of(pid: u32) -> Result<Option<Self>, KernelError> {
        let seen = root(pid).and_then(|root| {
            let (mounts, node) = (mounts(pid)?, mounts(1)?);
            Ok(Self { pid, root, mounts, node })
        });
        let Some(view) = known(seen, || format!("/proc/{pid}/root"))? else { return Ok(None) };
        if view.mounts.len() > MOST {
            return Err(view.failed(format!("there are more than {MOST} mounts")));
        }
        Ok(Some(view))
    }

    /// The mount in which a path lies, if files there can be watched at all. `None` of the kernel's own.
    ///
    /// # Errors
    /// When calls there wait for a server.
    pub(super) fn watchable(&self, path: &Path) -> Result<Option<&MountInfo>, KernelError> {
        let mount = mount_of(&self.mounts, path).filter(|mount| !is_of_kernel(mount));
        match mount.and_then(|mount| waits_for_a_server(mount, &self.node)) {
            Some(reason) => {
                let place = path.display().to_string();
                Err(KernelError::Hook { what: "watch", place, reason })
            }
            None => Ok(mount),
        }
    }

    /// A place, by the eyes of the process; `None` if there is none. No link is followed, as rules know paths without any.
    /// Nothing is opened that the kernel would ask about.
    pub(super) fn open(&self, path: &Path) -> Result<Option<OwnedFd>, KernelError> {
        self.resolve(path, OFlag::O_PATH)
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> Result<Option<OwnedFd>, KernelError> {
        let Ok(within) = path.strip_prefix("/") else { return Ok(None) };
        let within = if within.as_os_str().is_empty() { Path::new(".") } else { within };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_SYMLINKS);
        match openat2(&self.root, within, how) {
            Ok(handle) => Ok(Some(handle)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG) => Ok(None),
            Err(errno) => Err(self.failed(format!("{}: {errno}", path.display()))),
        }
    }

    /// A directory and all below it, without those of the kernel. Of what a server serves its top only.
    pub(super) fn tree(&self, top: PathBuf) -> Result<Vec<PathBuf>, KernelError> {
        let mut found = vec![top.clone()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            if !matches!(self.watchable(&path), Ok(Some(_))) {
                continue;
            }
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            let Some(handle) = self.resolve(&path, flags)? else { continue };
            let entries = match fs::read_dir(format!("/proc/self/fd/{}", handle.as_raw_fd())) {
                Ok(entries) => entries,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(self.failed(format!("{}: {error}", path.display()))),
            };
            for entry in entries {
                let entry =
                    entry.map_err(|error| self.failed(format!("{}: {error}", path.display())))?;
                if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    continue;
                }
                if found.len() == MOST {
                    return Err(self.failed(format!(
                        "{} has more than {MOST} directories, and other processes of this node share its mounts; name it more narrowly",
                        top.display()
                    )));
                }
                let below = path.join(entry.file_name());
                if !mount_of(&self.mounts, &below).is_some_and(is_of_kernel) {
                    found.push(below);
                }
            }
        }
        Ok(found)
    }

    pub(super) fn failed(&self, reason: String) -> KernelError {
        let place = format!("what process {} sees", self.pid);
        KernelError::Hook { what: "find files in", place, reason }
    }
}

/// The root directory of a process. Whoever serves it is not asked.
fn root(pid: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(format!("/proc/{pid}/root").as_str(), flags, Mode::empty())?)
}

fn mounts(pid: u32) -> io::Result<Vec<MountInfo>> {
    let lines = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
    let mounts = lines.lines().map(|line| MountInfo::from_line(line).map(unescaped));
    mounts.collect::<Result<_, _>>().map_err(io::Error::other)
}

/// `None` where a process has ended.
fn known<T>(seen: io::Result<T>, place: impl Fn() -> String) -> Result<Option<T>, KernelError> {
    match seen {
        Ok(seen) => Ok(Some(seen)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => {
            Err(KernelError::Hook { what: "look into", place: place(), reason: error.to_string() })
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH)
    )
}

/// What a descriptor stands for, as far as this node knows by itself.
pub(super) fn inode(handle: &impl AsFd) -> io::Result<Inode> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let seen = statx(handle, "", flags, StatxFlags::INO)?;
    Ok((u64::from(seen.stx_dev_major) << 32 | u64::from(seen.stx_dev_minor), seen.stx_ino))
}

/// Where this process itself finds what a descriptor stands for.
pub(super) fn by_descriptor(descriptor: i32) -> (BorrowedFd<'static>, String) {
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
    fn views_are_told_apart_by_their_roots() {
        let own = View::identity(std::process::id()).unwrap().unwrap();
        assert_eq!(View::identity(std::process::id()).unwrap(), Some(own));
        assert!(own.iter().all(|(_, inode)| *inode != 0));
        assert_eq!(View::identity(u32::MAX).unwrap(), None);
    }

    #[test]
    fn a_tree_has_every_directory() {
        let top = std::env::temp_dir().join(format!("chaos-tree-{}", std::process::id()));
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/file"), "").unwrap();
        let view = View::of(std::process::id()).unwrap().unwrap();
        let tree = view.tree(top.clone()).unwrap();
        assert_eq!(tree, [top.clone(), top.join("a"), top.join("a/b")]);
        assert!(view.open(&top.join("none")).unwrap().is_none());
        fs::remove_dir_all(&top).unwrap();
    }
}
