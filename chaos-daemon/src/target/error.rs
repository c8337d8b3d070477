//! Why a target cannot be found or looked at.

use std::{io, path::PathBuf};

use chaos_common::target::{CgroupPath, Target};

/// Why a target, or the cgroup tree itself, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The host mounts cgroup v1 hierarchies and no v2 one.
    #[error(
        "this host has cgroup v1 only, and faults are aimed at cgroup v2; boot it with \
         `systemd.unified_cgroup_hierarchy=1` on the kernel command line"
    )]
    OnlyV1,
    /// The host mounts no cgroup hierarchy at all.
    #[error(
        "no cgroup2 file system is mounted; mount one: `mount -t cgroup2 none /sys/fs/cgroup` (`ip netns exec` hides it: \
         use `nsenter --net=/run/netns/NAME` instead)"
    )]
    NotMounted,
    /// Every cgroup2 mount shows but a part of the tree.
    #[error(
        "only a part of the cgroup tree is mounted ({}); make the whole of it visible to the daemon, \
         in a container by mounting the host's /sys/fs/cgroup",
        .parts.join(", ")
    )]
    OnlyPart {
        /// `subtree at mount point`, one for each mount.
        parts: Vec<String>,
    },
    /// A path that was given as the cgroup2 mount is none.
    #[error("{} is no cgroup2 file system; `grep cgroup2 /proc/self/mountinfo` shows where it is", .path.display())]
    NotCgroup2 {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing on this node is meant by the target.
    #[error("there is no {target} on this node; `chaos targets` lists what there is")]
    NotFound {
        /// What was asked for.
        target: Target,
    },
    /// Several cgroups could be meant.
    #[error("{target} could be any of {}; name one of them as a cgroup", shown(.candidates))]
    Ambiguous {
        /// What was asked for.
        target: Target,
        /// The cgroups that could be meant, sorted.
        candidates: Vec<CgroupPath>,
    },
    /// The path is no cgroup: a file of one, or something mounted over one.
    #[error("{path} is no cgroup but something within one; leave the last part out")]
    NoCgroup {
        /// What was asked for.
        path: CgroupPath,
    },
    /// No such process, or it ended while it was looked at.
    #[error("process {pid} is gone; name one that runs, or its cgroup")]
    ProcessGone {
        /// Its id in the daemon's pid namespace.
        pid: u32,
    },
    /// The process has ended and waits for its parent.
    #[error(
        "process {pid} has ended and only waits for its parent; name one that runs, or its cgroup"
    )]
    Zombie {
        /// Its id in the daemon's pid namespace.
        pid: u32,
    },
    /// The process is in a cgroup that the daemon cannot see.
    #[error(
        "process {pid} is in cgroup {path}, outside of what the daemon sees; run the daemon in the \
         host's cgroup namespace"
    )]
    OutOfView {
        /// Its id in the daemon's pid namespace.
        pid: u32,
        /// Its cgroup, relative to the daemon's cgroup namespace.
        path: String,
    },
    /// Its cgroup has been removed under it.
    #[error("the cgroup of process {pid}, {path}, was removed; only its parent can be aimed at")]
    CgroupRemoved {
        /// Its id in the daemon's pid namespace.
        pid: u32,
        /// Where the cgroup was.
        path: String,
    },
    /// The kernel did not answer.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// The operation: `list`, `read`, `open`.
        doing: &'static str,
        /// Its object.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl TargetError {
    /// For `map_err`: what was done to what.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

fn shown(candidates: &[CgroupPath]) -> String {
    const MOST: usize = 8;
    let mut text: Vec<String> = candidates.iter().take(MOST).map(ToString::to_string).collect();
    if candidates.len() > MOST {
        text.push(format!("{} more", candidates.len() - MOST));
    }
    text.join(", ")
}

/// Whether a cgroup or process went away between two looks. A removed cgroup answers ENODEV to reads of
/// files that were opened before.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use nix::errno::Errno;
    error
        .raw_os_error()
        .map(Errno::from_raw)
        .is_some_and(|errno| matches!(errno, Errno::ENOENT | Errno::ENODEV | Errno::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_candidates_is_cut() {
        let candidates = (0..20).map(|n| format!("/c{n}").parse().unwrap()).collect();
        let target = Target::Unit("a.service".parse().unwrap());
        let text = TargetError::Ambiguous { target, candidates }.to_string();
        assert_eq!(
            text,
            "unit a.service could be any of /c0, /c1, /c2, /c3, /c4, /c5, /c6, /c7, 12 more; \
             name one of them as a cgroup"
        );
    }
}
