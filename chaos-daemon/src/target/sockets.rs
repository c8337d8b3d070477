//! Which sockets of a cgroup a fault will not hit.
//!
//! A socket belongs to the cgroup in which it was made, for ever: moving its process moves no socket. So
//! a process that was moved into its cgroup after it opened its sockets (a database that a script put
//! there, a session) has sockets that no fault on that cgroup hits. This counts them.
//!
//! # Flow
//! [`SocketSurvey::take`] asks, inside each network namespace that the processes are in, for all internet
//! sockets with the cgroup each was made in (`sock_diag`), and reads which sockets the processes hold
//! (`/proc/PID/fd`). [`SocketSurvey::count`] joins the two for any cgroup of the list.
//!
//! # Caveats
//! * A TCP socket that is neither bound nor connected is known to no table of the kernel, and not counted;
//!   a bound one is since Linux 6.8. ICMP datagram sockets, SCTP and MPTCP are
//!   not counted, and raw sockets only by a kernel with `INET_RAW_DIAG`.
//! * Before Linux 5.16, all sockets seem foreign on a host that uses the `net_cls` or `net_prio` controllers
//!   of cgroup v1. That is the truth: such sockets belong to the root cgroup.
//! * A socket made in a cgroup that has been removed counts as foreign, even if that one was below.
//! * The looks are taken one after the other; on a busy node the numbers are a good estimate.

mod diag;

pub use diag::{BoundSocket, bound_sockets};
pub(crate) use diag::{each_socket, made_in};

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::fd::AsFd,
};

use chaos_common::target::CgroupPath;

use super::{
    error::TargetError, list::TargetInfo, membership::has_ended, namespaces, resolve::is_below,
    root::normal,
};
use crate::netns;

/// How many internet sockets the processes of a cgroup, and of all below it, hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCount {
    /// All of them; one that several processes share counts once.
    pub held: u32,
    /// Of those, made in a cgroup that is neither this one nor below it.
    pub foreign: u32,
}

/// Who holds which sockets, and where they were made.
#[derive(Debug)]
pub struct SocketSurvey {
    cgroups: BTreeMap<String, Members>,
    /// Inode of a socket to the id of the cgroup in which it was made.
    made_in: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Members {
    id: u64,
    sockets: Vec<u64>,
}

impl SocketSurvey {
    /// Looks at the processes of a list of cgroups. `None` if the kernel cannot tell: it is older than
    /// Linux 5.9, or was built without `INET_DIAG` or `INET_UDP_DIAG`.
    ///
    /// # Errors
    /// When the kernel does not answer. Processes that end meanwhile, or that may not be looked at (needs
    /// `CAP_SYS_ADMIN` and `CAP_SYS_PTRACE`), are left out.
    pub fn take(targets: &[TargetInfo]) -> Result<Option<Self>, TargetError> {
        let pids: HashSet<u32> =
            targets.iter().flat_map(|info| info.pids.iter().copied()).collect();
        let mut made_in = HashMap::new();
        for (inode, handle) in namespaces::of_pids(pids) {
            let sockets = netns::within(handle.as_fd(), diag::sockets)
                .and_then(std::convert::identity)
                .map_err(TargetError::io("list the sockets of", format!("net:[{inode}]")))?;
            let Some(sockets) = sockets else { return Ok(None) };
            made_in.extend(sockets);
        }
        let mut cgroups = BTreeMap::new();
        for info in targets {
            let mut sockets = Vec::new();
            for pid in &info.pids {
                match held(*pid) {
                    Ok(held) => {
                        sockets
                            .extend(held.into_iter().filter(|inode| made_in.contains_key(inode)));
                    }
                    Err(error) => tracing::debug!(pid, %error, "its sockets are left out"),
                }
            }
            cgroups.insert(info.cgroup.path.to_string(), Members { id: info.cgroup.id, sockets });
        }
        Ok(Some(Self { cgroups, made_in }))
    }

    /// Counts for one cgroup of the list.
    #[must_use]
    pub fn count(&self, cgroup: &CgroupPath) -> SocketCount {
        let cgroup = normal(cgroup);
        // Everything below "/a" sorts between "/a/" and "/a0".
        let stem = cgroup.as_str().trim_end_matches('/');
        let below = self.cgroups.range(format!("{stem}/")..format!("{stem}0"));
        let below =
            below.filter(|(path, _)| path.parse().is_ok_and(|path| is_below(&path, &cgroup)));
        let members: Vec<&Members> = self
            .cgroups
            .get(cgroup.as_str())
            .into_iter()
            .chain(below.map(|(_, members)| members))
            .collect();
        let ids: HashSet<u64> = members.iter().map(|members| members.id).collect();
        let held: HashSet<u64> =
            members.iter().flat_map(|members| members.sockets.iter().copied()).collect();
        let foreign =
            held.iter().filter(|inode| self.made_in.get(inode).is_none_or(|id| !ids.contains(id)));
        SocketCount { held: count(held.len()), foreign: count(foreign.count()) }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Inodes of the sockets that a process has open.
fn held(pid: u32) -> Result<Vec<u64>, TargetError> {
    let path = format!("/proc/{pid}/fd");
    let mut sockets = Vec::new();
    let links = match fs::read_dir(&path) {
        Ok(links) => links,
        Err(error) if has_ended(pid, &error) => return Ok(sockets),
        Err(error) => return Err(TargetError::io("list", path)(error)),
    };
    for link in links {
        // A file that is closed meanwhile looks the same, and is not held.
        match link.and_then(|link| fs::read_link(link.path())) {
            Ok(file) => sockets.extend(file.to_str().and_then(socket_inode)),
            Err(error) if has_ended(pid, &error) => {}
            Err(error) => return Err(TargetError::io("list", path)(error)),
        }
    }
    Ok(sockets)
}

/// A process that has a socket open, with its name.
#[must_use]
pub fn process_of_socket(inode: u32) -> Option<(u32, String)> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pid =
        pids.find(|pid| held(*pid).is_ok_and(|sockets| sockets.contains(&u64::from(inode))))?;
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, String::from_utf8_lossy(&comm).trim_end().to_owned()))
}

/// `socket:[4711]`, as `sockfs_dname` writes it.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests;
