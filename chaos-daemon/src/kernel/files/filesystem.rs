//! Which file systems are not watched, and why.

use std::path::Path;

use chaos_common::fault::{KERNEL_DIRECTORIES, SHARED_MEMORY};
use procfs::process::MountInfo;

use super::cover::mount_of;

/// File systems that have no files but the kernel's, and devices.
pub(super) fn is_of_kernel(mount: &MountInfo) -> bool {
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
    let is_theirs = KERNEL_DIRECTORIES.iter().any(|at| mount.mount_point.starts_with(at));
    let is_memory = mount.mount_point.starts_with(SHARED_MEMORY);
    KINDS.contains(&mount.fs_type.as_str()) || is_theirs && !is_memory
}

/// Why files of a mount are not held whose calls wait for another process or machine already: then that, and all who need
/// the same directory, would wait for each other. `node` is what the node's first process has mounted, as layers are named
/// by whoever put a mount together.
pub(super) fn waits_for_a_server(mount: &MountInfo, node: &[MountInfo]) -> Option<String> {
    let kind = mount.fs_type.as_str();
    if is_served(kind) {
        return Some(format!(
            "calls on {kind} wait for a server, and cannot be held besides; name files of other file systems"
        ));
    }
    if kind != "overlay" {
        return None;
    }
    let named = ["lowerdir", "upperdir"]
        .iter()
        .filter_map(|name| mount.super_options.get(*name)?.as_deref());
    let mut layers = named.flat_map(|layers| layers.split(':')).map(Path::new);
    layers.find_map(|layer| {
        let below = mount_of(node, layer).filter(|_| layer.is_absolute())?;
        is_served(&below.fs_type).then(|| {
            format!(
                "a layer of this overlay, {}, is on {}, where calls wait for a server; name files of other file systems",
                layer.display(),
                below.fs_type
            )
        })
    })
}

fn is_served(kind: &str) -> bool {
    const KINDS: [&str; 11] = [
        "fuseblk", "nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "lustre", "gfs2",
    ];
    kind == "fuse" || kind.starts_with("fuse.") || KINDS.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(at: &str, kind: &str, options: &str) -> MountInfo {
        MountInfo::from_line(&format!("21 1 0:1 / {at} rw - {kind} none {options}")).unwrap()
    }

    #[test]
    fn what_is_the_kernel_s_is_left_alone() {
        for (kind, at, is_so) in [
            ("tmpfs", "/dev", true),
            ("tmpfs", "/dev/shm", false),
            ("proc", "/p", true),
            ("ext4", "/data", false),
        ] {
            assert_eq!(is_of_kernel(&mount(at, kind, "rw")), is_so, "{at}");
        }
    }

    #[test]
    fn what_a_server_serves_is_refused_by_name() {
        let node = [mount("/", "ext4", "rw"), mount("/snapshots", "fuse.rafs", "rw")];
        let refused =
            |kind: &str, options: &str| waits_for_a_server(&mount("/data", kind, options), &node);
        assert!(refused("ext4", "rw").is_none() && refused("overlay", "rw").is_none());
        for kind in ["fuse.mergerfs", "fuseblk", "nfs4"] {
            assert!(refused(kind, "rw").unwrap().contains(kind));
        }
        assert!(refused("overlay", "rw,lowerdir=/a:/b,upperdir=/c,workdir=/d").is_none());
        let reason = refused("overlay", "rw,lowerdir=/a:/snapshots/7/fs,upperdir=/c").unwrap();
        assert!(reason.contains("/snapshots/7/fs, is on fuse.rafs"), "{reason}");
    }
}
