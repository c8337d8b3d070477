//! The network namespaces that processes are in.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::Path,
};

use chaos_common::target::CgroupPath;
use nix::{
    errno::Errno,
    sys::statfs::{NSFS_MAGIC, fstatfs},
};
use procfs::process::MountInfo;

use super::{
    error::TargetError,
    membership::has_ended,
    processes::pids_below,
    root::{CgroupRoot, mounts},
};

/// A network namespace in use. All of them are on the kernel's one namespace file system, so that the
/// inode alone names one, as long as something keeps it: a process, or the handle.
#[derive(Debug)]
pub struct NetNsRef {
    /// As in `net:[4026531840]`.
    pub inode: u64,
    /// Keeps it and lets one enter; `None` if the caller said that it has one.
    pub handle: Option<OwnedFd>,
}

/// The distinct network namespaces that the processes of a cgroup, and of all below it, are in. Those that
/// are `known` by their inode are not opened. A thread that left its process's namespace is not looked for.
///
/// # Errors
/// When the kernel does not answer, or the daemon may not look (needs `CAP_SYS_PTRACE` for processes of
/// others). A process that ends meanwhile is no error, and a cgroup that is gone has none.
pub fn network_namespaces(
    root: &CgroupRoot,
    cgroup: &CgroupPath,
    known: &dyn Fn(u64) -> bool,
) -> Result<Vec<NetNsRef>, TargetError> {
    let mut found = BTreeMap::new();
    for pid in pids_below(root, cgroup)? {
        add(pid, known, &mut found)?;
    }
    Ok(found.into_iter().map(|(inode, handle)| NetNsRef { inode, handle }).collect())
}

/// Every network namespace of the node that can be found: of a process, or kept by a mount (`ip netns`).
/// What cannot be looked at is left out.
#[must_use]
pub fn all_network_namespaces() -> Vec<(u64, OwnedFd)> {
    let mut found = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        // A process that may not be looked at is as good as none: there is nothing to be done about it.
        let _ = add(pid, &|_| false, &mut found);
    }
    for mount in mounts().unwrap_or_default() {
        if let Some((inode, handle)) = kept(&mount) {
            found.entry(inode).or_insert(Some(handle));
        }
    }
    opened(found)
}

/// As [`network_namespaces`], of some processes, all opened. A process that may not be looked at, as the
/// first one of some containers, is left out.
pub(crate) fn of_pids(pids: impl IntoIterator<Item = u32>) -> Vec<(u64, OwnedFd)> {
    let mut found = BTreeMap::new();
    for pid in pids {
        if let Err(error) = add(pid, &|_| false, &mut found) {
            tracing::debug!(pid, %error, "its network namespace is left out");
        }
    }
    opened(found)
}

fn of_process(pid: u32) -> String {
    format!("/proc/{pid}/ns/net")
}

fn opened(found: Found) -> Vec<(u64, OwnedFd)> {
    found.into_iter().filter_map(|(inode, handle)| Some((inode, handle?))).collect()
}

/// The namespace that a mount keeps, unless something else is mounted over it.
fn kept(mount: &MountInfo) -> Option<(u64, OwnedFd)> {
    let inode = mount.root.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    if mount.fs_type != "nsfs" {
        return None;
    }
    let file = File::open(&mount.mount_point).ok()?;
    (file.metadata().ok()?.ino() == inode).then(|| (inode, file.into()))
}

type Found = BTreeMap<u64, Option<OwnedFd>>;

fn add(pid: u32, known: &dyn Fn(u64) -> bool, found: &mut Found) -> Result<(), TargetError> {
    let place = of_process(pid);
    match look(Path::new(&place), known, found) {
        Err(error) if !has_ended(pid, &error) => Err(TargetError::io("open", place)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn look(place: &Path, known: &dyn Fn(u64) -> bool, found: &mut Found) -> io::Result<()> {
    let seen = fs::metadata(place)?.ino();
    if found.contains_key(&seen) {
        return Ok(());
    }
    if known(seen) {
        found.insert(seen, None);
        return Ok(());
    }
    let file = File::open(place)?;
    // Linux 5.10 opens something else for a process that may not be looked at.
    if fstatfs(&file)?.filesystem_type() != NSFS_MAGIC {
        return Err(Errno::EACCES.into());
    }
    // The process may have moved between the two looks: what was opened is what counts.
    let inode = file.metadata()?.ino();
    found.entry(inode).or_insert_with(|| Some(file.into()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, process::Command};

    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };

    use super::*;
    use crate::target::testing::{Sleeper, TestCgroup};

    fn inode(pid: u32) -> u64 {
        fs::metadata(of_process(pid)).unwrap().ino()
    }

    #[test]
    fn each_network_namespace_is_opened_once() {
        let Some(test) = TestCgroup::new("netns") else { return };
        test.make("a");
        let shared = [Sleeper::new(), Sleeper::new()];
        let apart = Sleeper::of(Command::new("unshare").args(["--net", "sleep", "600"]));
        let own = inode(std::process::id());
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while inode(apart.pid()) == own {
            assert!(std::time::Instant::now() < end, "never left the namespace");
            std::thread::yield_now();
        }
        for sleeper in &shared {
            test.put("", sleeper.pid());
        }
        test.put("a", apart.pid());
        let mut both: BTreeSet<u64> = [own, inode(apart.pid())].into();
        let look = |below: &str, known: &dyn Fn(u64) -> bool| {
            network_namespaces(&test.root, &test.path(below), known).unwrap()
        };
        let found = look("", &|inode| inode == own);
        assert!(
            found.iter().all(|namespace| namespace.handle.is_none() == (namespace.inode == own))
        );
        assert_eq!(found.iter().map(|namespace| namespace.inode).collect::<BTreeSet<_>>(), both);
        assert_eq!(look("a", &|_| false).len(), 1);
        assert!(look("none", &|_| false).is_empty());
        for (inode, _) in all_network_namespaces() {
            both.remove(&inode);
        }
        assert!(both.is_empty(), "not found in /proc: {both:?}");
    }

    #[test]
    fn a_namespace_without_processes_is_found_where_it_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let (place, over) = (dir.path().join("net"), dir.path().join("over"));
        File::create(&place).unwrap();
        File::create(&over).unwrap();
        // On a thread with mounts and a network of its own, which go with it.
        let (alone, covered) = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            let own = "/proc/thread-self/ns/net";
            let inode = fs::metadata(own).unwrap().ino();
            mount(Some(own), &place, none, MsFlags::MS_BIND, none).unwrap();
            let line = format!("9 8 0:4 net:[{inode}] {} rw - nsfs nsfs rw", place.display());
            let info = MountInfo::from_line(&line).unwrap();
            let alone = kept(&info).map(|(found, _)| found == inode);
            mount(Some(&over), &place, none, MsFlags::MS_BIND, none).unwrap();
            (alone, kept(&info).is_some())
        })
        .join()
        .unwrap();
        assert_eq!((alone, covered), (Some(true), false));
    }
}
