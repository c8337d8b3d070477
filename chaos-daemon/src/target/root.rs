//! The cgroup2 mount, and a cgroup below it.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use chaos_common::target::CgroupPath;
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::{
        stat::{Mode, fstat},
        statfs::{CGROUP2_SUPER_MAGIC, fstatfs},
    },
};
use procfs::process::MountInfo;

use super::error::TargetError;

/// Inode of the root cgroup, in every kernel since 5.5 (`cgroup_setup_root`).
const ROOT_INODE: u64 = 1;

/// The top of the cgroup2 tree as the daemon sees it.
#[derive(Clone, Debug)]
pub struct CgroupRoot {
    path: PathBuf,
    dir: Arc<OwnedFd>,
    device: u64,
    inode: u64,
    level: u32,
}

/// How much of the kernel's tree a [`CgroupRoot`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What a cgroup namespace leaves: levels are counted from there, until [`CgroupRoot::at_level`]
    /// says better.
    Part,
}

/// One cgroup, as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cgroup {
    /// Below the cgroup2 mount, without empty steps: `/system.slice/nginx.service`.
    pub path: CgroupPath,
    /// The kernel's id of it: the inode of its directory.
    pub id: u64,
    /// Its depth; the root's is 0.
    pub level: u32,
}

impl CgroupRoot {
    /// Finds the mount that shows the most, in `/proc/self/mountinfo`.
    ///
    /// # Errors
    /// [`TargetError::OnlyV1`], [`TargetError::NotMounted`] or [`TargetError::OnlyPart`] when there is
    /// none to use; otherwise what the best one answered.
    pub fn find() -> Result<Self, TargetError> {
        let mut last = TargetError::NotMounted;
        for path in usable(&mounts()?)? {
            match Self::at(path) {
                Ok(root) => return Ok(root),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes a directory for the top of the tree: a cgroup2 mount point, or for a test a cgroup.
    ///
    /// # Errors
    /// When it cannot be opened or is on no cgroup2 file system.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, TargetError> {
        let path = path.into();
        let io = |doing| TargetError::io(doing, &path);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = open(&path, flags, Mode::empty()).map_err(io::Error::from).map_err(io("open"))?;
        let kind = fstatfs(&dir).map_err(io::Error::from).map_err(io("look at"))?;
        if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(TargetError::NotCgroup2 { path });
        }
        let stat = fstat(&dir).map_err(io::Error::from).map_err(io("look at"))?;
        Ok(Self { path, dir: Arc::new(dir), device: stat.st_dev, inode: stat.st_ino, level: 0 })
    }

    /// Sets the level that the top has in the kernel's tree, which user space cannot find out for an
    /// [`Extent::Part`]. Levels of everything below follow.
    #[must_use]
    pub fn at_level(mut self, level: u32) -> Self {
        self.level = level;
        self
    }

    /// How much of the kernel's tree this shows.
    #[must_use]
    pub fn extent(&self) -> Extent {
        if self.inode == ROOT_INODE { Extent::Whole } else { Extent::Part }
    }

    /// The kernel's id of the top.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.inode
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a cgroup. It need not exist.
    #[must_use]
    pub fn dir(&self, cgroup: &CgroupPath) -> PathBuf {
        let mut dir = self.path.clone();
        dir.extend(steps(cgroup));
        dir
    }

    /// Looks a cgroup up, through no symbolic link and no other mount.
    ///
    /// # Errors
    /// `None` if nothing is there; [`TargetError::NoCgroup`] if it is no directory of this tree.
    pub(crate) fn look_up(&self, cgroup: &CgroupPath) -> Result<Option<Cgroup>, TargetError> {
        use nix::errno::Errno;
        let below: PathBuf = std::iter::once(".").chain(steps(cgroup)).collect();
        let how =
            OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(
                ResolveFlag::RESOLVE_BENEATH
                    | ResolveFlag::RESOLVE_NO_SYMLINKS
                    | ResolveFlag::RESOLVE_NO_XDEV,
            );
        let stat = match openat2(self.dir.as_fd(), &below, how).and_then(fstat) {
            Ok(stat) => stat,
            Err(Errno::ENOENT | Errno::ENODEV) => return Ok(None),
            Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV) => {
                return Err(TargetError::NoCgroup { path: cgroup.clone() });
            }
            Err(errno) => return Err(TargetError::io("open", self.dir(cgroup))(errno.into())),
        };
        Ok(self.cgroup(cgroup, stat.st_dev, stat.st_ino))
    }

    /// A cgroup by its path and what `stat` says of its directory; `None` if that is on another mount.
    pub(crate) fn cgroup(&self, path: &CgroupPath, device: u64, inode: u64) -> Option<Cgroup> {
        let depth = u32::try_from(steps(path).count()).ok()?;
        (device == self.device).then(|| Cgroup {
            path: normal(path),
            id: inode,
            level: self.level.saturating_add(depth),
        })
    }

    /// Whether what was looked at is on this mount.
    pub(crate) fn holds(&self, stat: &fs::Metadata) -> bool {
        stat.dev() == self.device
    }
}

/// The mounts that the daemon sees. A mount point need not be UTF-8; one that is not is none of ours, and
/// must not hide the others.
pub(crate) fn mounts() -> Result<Vec<MountInfo>, TargetError> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let text = fs::read(MOUNTS).map_err(TargetError::io("read", MOUNTS))?;
    let lines = String::from_utf8_lossy(&text);
    Ok(lines.lines().filter_map(|line| MountInfo::from_line(line).ok()).collect())
}

/// The names on the way to a cgroup; none for the root.
pub(crate) fn steps(path: &CgroupPath) -> impl Iterator<Item = &str> {
    path.as_str().split('/').filter(|step| !step.is_empty())
}

/// The same path without empty steps.
pub(crate) fn normal(path: &CgroupPath) -> CgroupPath {
    let text = steps(path).fold(String::new(), |text, step| text + "/" + step);
    let text = if text.is_empty() { "/".to_owned() } else { text };
    // Leaving empty steps out of a good path leaves a good path.
    text.parse().unwrap_or_else(|_| path.clone())
}

/// The mount points to try, best first.
fn usable(mounts: &[MountInfo]) -> Result<Vec<PathBuf>, TargetError> {
    let v2: Vec<&MountInfo> = mounts.iter().filter(|mount| mount.fs_type == "cgroup2").collect();
    if v2.is_empty() {
        let v1 = mounts.iter().any(|mount| mount.fs_type == "cgroup");
        return Err(if v1 { TargetError::OnlyV1 } else { TargetError::NotMounted });
    }
    let mut whole: Vec<PathBuf> = v2
        .iter()
        .filter(|mount| mount.root == "/")
        .map(|mount| mount.mount_point.clone())
        .collect();
    if whole.is_empty() {
        let part =
            |mount: &&MountInfo| format!("{} at {}", mount.root, mount.mount_point.display());
        return Err(TargetError::OnlyPart { parts: v2.iter().map(part).collect() });
    }
    whole.sort_by_key(|path| match path.to_str() {
        Some("/sys/fs/cgroup") => 0,
        Some("/sys/fs/cgroup/unified") => 1,
        Some(_) | None => 2,
    });
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[&str]) -> Vec<MountInfo> {
        lines.iter().map(|line| MountInfo::from_line(line).unwrap()).collect()
    }

    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
    const HYBRID: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";
    const UNIFIED: &str =
        "31 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    const SUBTREE: &str = "50 31 0:38 /a/b /mnt/b rw,relatime - cgroup2 cgroup2 rw";
    const ELSEWHERE: &str = "51 31 0:38 / /mnt/c rw,relatime - cgroup2 cgroup2 rw";

    #[test]
    fn the_mount_that_shows_the_most_is_tried_first() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&[V1, HYBRID], &["/sys/fs/cgroup/unified"]),
            (&[ELSEWHERE, SUBTREE, UNIFIED], &["/sys/fs/cgroup", "/mnt/c"]),
            (&[ELSEWHERE, V1, HYBRID], &["/sys/fs/cgroup/unified", "/mnt/c"]),
            (&[SUBTREE, ELSEWHERE], &["/mnt/c"]),
        ];
        for (given, wanted) in cases {
            let wanted: Vec<PathBuf> = wanted.iter().map(PathBuf::from).collect();
            assert_eq!(usable(&parsed(given)).unwrap(), wanted);
        }
    }

    #[test]
    fn a_host_without_a_usable_mount_is_told_what_to_do() {
        for (given, word) in [
            (&[V1][..], "systemd.unified_cgroup_hierarchy=1"),
            (&[], "mount -t cgroup2"),
            (&[SUBTREE], "/a/b at /mnt/b"),
        ] {
            let error = usable(&parsed(given)).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn empty_steps_are_left_out() {
        for (given, wanted) in [("/", "/"), ("//", "/"), ("/a//b/", "/a/b"), ("/a/b", "/a/b")] {
            assert_eq!(normal(&given.parse().unwrap()).as_str(), wanted);
        }
    }

    #[test]
    fn another_file_system_is_refused() {
        assert!(matches!(CgroupRoot::at("/proc"), Err(TargetError::NotCgroup2 { .. })));
        assert!(matches!(CgroupRoot::at("/nonexistent"), Err(TargetError::Io { .. })));
    }

    #[test]
    fn this_host_has_one() {
        let root = CgroupRoot::find().unwrap();
        let top = root.look_up(&"/".parse().unwrap()).unwrap().unwrap();
        assert_eq!((top.level, top.id, top.path.as_str()), (0, root.id(), "/"));
        assert_eq!(root.extent() == Extent::Whole, root.id() == 1);
    }

    #[test]
    fn what_is_mounted_over_a_cgroup_is_none() {
        use nix::{
            mount::{MsFlags, mount},
            sched::{CloneFlags, unshare},
        };
        let Some(test) = crate::target::testing::TestCgroup::new("mounted") else { return };
        test.make("a/b");
        let (top, covered) = (test.path(""), test.path("a"));
        // On a thread with mounts of its own, which go with it.
        let seen = move || {
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let root = CgroupRoot::find().unwrap();
            mount(Some("t"), &root.dir(&covered), Some("tmpfs"), MsFlags::empty(), none).unwrap();
            fs::create_dir(root.dir(&covered).join("b")).unwrap();
            std::os::unix::fs::symlink("..", root.dir(&covered).join("link")).unwrap();
            assert!(matches!(root.look_up(&covered), Err(TargetError::NoCgroup { .. })));
            let link = format!("{covered}/link").parse().unwrap();
            assert!(matches!(root.look_up(&link), Err(TargetError::NoCgroup { .. })));
            assert!(root.look_up(&top).unwrap().is_some());
            crate::target::walk::walk(&root, &top).unwrap().len()
        };
        assert_eq!(std::thread::spawn(seen).join().unwrap(), 1);
    }

    #[test]
    fn levels_follow_the_top() {
        let root = CgroupRoot::find().unwrap().at_level(3);
        let level = |path: &str| {
            let (device, inode) = (root.device, root.inode);
            root.cgroup(&path.parse().unwrap(), device, inode).unwrap().level
        };
        assert_eq!((level("/"), level("/a/b")), (3, 5));
    }
}
