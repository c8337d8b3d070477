//! The processes in a cgroup.

use std::{collections::BTreeSet, fs, io, path::Path};

use chaos_common::target::CgroupPath;
use nix::errno::Errno;
use procfs::process::Process;

use super::{
    error::{TargetError, is_gone},
    root::CgroupRoot,
    walk::dirs,
};

/// The processes in this very cgroup, sorted; ids are those of the daemon's pid namespace, and processes
/// that have none there are left out. Of a threaded cgroup, the processes that its threads belong to.
/// Empty for a cgroup that is gone.
///
/// # Errors
/// When the kernel does not answer.
pub fn pids(root: &CgroupRoot, cgroup: &CgroupPath) -> Result<Vec<u32>, TargetError> {
    pids_in(&root.dir(cgroup))
}

/// As [`pids`], of a cgroup and all below it, also of those that have no name one could say.
///
/// # Errors
/// As [`pids`]; a cgroup that is gone has none.
pub fn pids_below(root: &CgroupRoot, cgroup: &CgroupPath) -> Result<Vec<u32>, TargetError> {
    let dirs = match dirs(root, cgroup) {
        Ok(dirs) => dirs,
        Err(TargetError::Io { source, .. }) if is_gone(&source) => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut all = BTreeSet::new();
    for (dir, _) in dirs {
        all.extend(pids_in(&dir)?);
    }
    Ok(all.into_iter().collect())
}

fn pids_in(dir: &Path) -> Result<Vec<u32>, TargetError> {
    match read_ids(&dir.join("cgroup.procs")) {
        Ok(pids) => Ok(pids),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => of_threads(dir),
        Err(error) => Err(TargetError::io("read", dir.join("cgroup.procs"))(error)),
    }
}

/// A threaded cgroup lists threads only; their processes belong to the domain above it.
fn of_threads(dir: &Path) -> Result<Vec<u32>, TargetError> {
    let file = dir.join("cgroup.threads");
    let threads = match read_ids(&file) {
        Ok(threads) => threads,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(TargetError::io("read", file)(error)),
    };
    let process = |thread: u32| {
        let status = Process::new(i32::try_from(thread).ok()?).ok()?.status().ok()?;
        u32::try_from(status.tgid).ok()
    };
    let processes: BTreeSet<u32> = threads.into_iter().filter_map(process).collect();
    Ok(processes.into_iter().collect())
}

fn read_ids(file: &Path) -> io::Result<Vec<u32>> {
    Ok(parse_ids(&fs::read_to_string(file)?))
}

/// The kernel may list an id twice, and writes 0 for what has no id in the reader's pid namespace.
fn parse_ids(text: &str) -> Vec<u32> {
    let ids: BTreeSet<u32> =
        text.lines().filter_map(|line| line.parse().ok()).filter(|id| *id != 0).collect();
    ids.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::testing::{Sleeper, TestCgroup};

    #[test]
    fn ids_are_those_of_this_pid_namespace() {
        assert_eq!(parse_ids("7\n0\n3\n7\n0\n"), [3, 7]);
        assert!(parse_ids("").is_empty());
    }

    #[test]
    fn processes_are_found_in_the_cgroup_and_below() {
        let Some(test) = TestCgroup::new("pids") else { return };
        test.make("a/b");
        let (upper, lower) = (Sleeper::new(), Sleeper::new());
        test.put("a", upper.pid());
        test.put("a/b", lower.pid());
        let mut both = [upper.pid(), lower.pid()];
        both.sort_unstable();
        assert_eq!(pids(&test.root, &test.path("a")).unwrap(), [upper.pid()]);
        assert_eq!(pids_below(&test.root, &test.path("a")).unwrap(), both);
        assert!(pids(&test.root, &test.path("")).unwrap().is_empty());
        assert!(pids(&test.root, &test.path("none")).unwrap().is_empty());
        assert!(pids_below(&test.root, &test.path("none")).unwrap().is_empty());
    }

    #[test]
    fn threaded_cgroups_answer_with_the_processes_of_their_threads() {
        let Some(test) = TestCgroup::new("threaded") else { return };
        test.make("a");
        test.write("a/cgroup.type", "threaded");
        let sleeper = Sleeper::new();
        test.put("", sleeper.pid());
        test.write("a/cgroup.threads", &sleeper.pid().to_string());
        let refused = fs::read_to_string(test.root.dir(&test.path("a/cgroup.procs")));
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(Errno::EOPNOTSUPP as i32));
        assert_eq!(pids(&test.root, &test.path("a")).unwrap(), [sleeper.pid()]);
        assert_eq!(pids_below(&test.root, &test.path("")).unwrap(), [sleeper.pid()]);
    }
}
