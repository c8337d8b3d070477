//! The cgroup that a process is in.

use std::{fs, path::PathBuf};

use chaos_common::target::CgroupPath;
use procfs::{FromRead, ProcessCGroups, process::Stat};

use super::error::{TargetError, is_gone};

/// The cgroup of a process in the v2 tree, as `/proc/PID/cgroup` has it.
///
/// # Errors
/// When there is no such process, only a dead one, or its cgroup cannot be seen from here.
pub fn of_process(pid: u32) -> Result<CgroupPath, TargetError> {
    let stat: Stat = read(pid, "stat")?;
    // The first thread of a process may end before the others.
    if matches!(stat.state, 'Z' | 'X') && stat.num_threads <= 1 {
        return Err(TargetError::Zombie { pid });
    }
    let groups: ProcessCGroups = read(pid, "cgroup")?;
    let path =
        groups.0.iter().find(|group| group.hierarchy == 0).map(|group| group.pathname.as_str());
    visible(pid, path.ok_or(TargetError::NotMounted)?)
}

/// Whether an error about `/proc/PID` says no more than that the process has ended. The links in there
/// answer EACCES to that as well as to a lack of rights (`proc_ns_get_link`, `proc_pid_get_link`).
pub(super) fn has_ended(pid: u32, error: &std::io::Error) -> bool {
    let ended = || {
        matches!(of_process(pid), Err(TargetError::ProcessGone { .. } | TargetError::Zombie { .. }))
    };
    is_gone(error) || (error.kind() == std::io::ErrorKind::PermissionDenied && ended())
}

fn visible(pid: u32, path: &str) -> Result<CgroupPath, TargetError> {
    if let Some(path) = path.strip_suffix(" (deleted)") {
        return Err(TargetError::CgroupRemoved { pid, path: path.to_owned() });
    }
    path.parse().map_err(|_| TargetError::OutOfView { pid, path: path.to_owned() })
}

fn read<T: FromRead>(pid: u32, file: &str) -> Result<T, TargetError> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    // Read first and parsed then: a process that ends in between is told from text that makes no sense.
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if is_gone(&error) => return Err(TargetError::ProcessGone { pid }),
        Err(error) => return Err(TargetError::io("read", path)(error)),
    };
    T::from_read(text.as_slice())
        .map_err(|error| TargetError::io("understand", path)(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::target::testing::{Sleeper, TestCgroup};

    #[test]
    fn what_is_out_of_view_or_removed_is_said() {
        assert_eq!(visible(1, "/a/b").unwrap().as_str(), "/a/b");
        assert!(matches!(visible(1, "/../x"), Err(TargetError::OutOfView { .. })));
        assert!(matches!(visible(1, "/.."), Err(TargetError::OutOfView { .. })));
        assert!(matches!(visible(1, "/a (deleted)"), Err(TargetError::CgroupRemoved { .. })));
    }

    #[test]
    fn a_running_process_has_one_and_a_dead_one_none() {
        let Some(test) = TestCgroup::new("membership") else { return };
        let sleeper = Sleeper::new();
        test.put("", sleeper.pid());
        assert_eq!(of_process(sleeper.pid()).unwrap(), test.path(""));

        let mut ended = Command::new("true").spawn().unwrap();
        let pid = ended.id();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !matches!(of_process(pid), Err(TargetError::Zombie { .. })) {
            assert!(std::time::Instant::now() < end, "never became a zombie");
            std::thread::yield_now();
        }
        ended.wait().unwrap();
        assert!(matches!(of_process(pid), Err(TargetError::ProcessGone { .. })));
        assert!(matches!(of_process(u32::MAX), Err(TargetError::ProcessGone { .. })));
    }
}
