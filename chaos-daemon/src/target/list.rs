//! Everything on the node that can be aimed at.

use chaos_common::target::CgroupPath;

use super::{
    error::TargetError,
    identity::{Identity, identify},
    processes::pids,
    resolve::top,
    root::{Cgroup, CgroupRoot},
    walk::walk,
};

/// A cgroup, what it stands for and who is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetInfo {
    /// Where.
    pub cgroup: Cgroup,
    /// What.
    pub identity: Identity,
    /// Processes in this very cgroup; see [`pids`].
    pub pids: Vec<u32>,
}

/// Every cgroup of the node, the root first, sorted by path.
///
/// # Errors
/// When the kernel does not answer. Cgroups that vanish meanwhile are no error.
pub fn list(root: &CgroupRoot) -> Result<Vec<TargetInfo>, TargetError> {
    list_below(root, &top())
}

/// As [`list`], of one cgroup and all below it.
///
/// # Errors
/// As [`list`]; also when the cgroup is not there.
pub fn list_below(root: &CgroupRoot, cgroup: &CgroupPath) -> Result<Vec<TargetInfo>, TargetError> {
    let info = |cgroup: Cgroup| {
        let pids = pids(root, &cgroup.path)?;
        Ok(TargetInfo { identity: identify(&cgroup.path), pids, cgroup })
    };
    walk(root, cgroup)?.into_iter().map(info).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::testing::{Sleeper, TestCgroup};

    #[test]
    fn lists_what_is_there() {
        let Some(test) = TestCgroup::new("list") else { return };
        test.make("a.service");
        let sleeper = Sleeper::new();
        test.put("a.service", sleeper.pid());
        let all = list(&test.root).unwrap();
        assert_eq!(all[0].cgroup.path.as_str(), "/");
        let info = all.iter().find(|info| info.cgroup.path == test.path("a.service")).unwrap();
        assert_eq!(info.identity, Identity::Unit { name: "a.service".into() });
        assert_eq!(info.pids, [sleeper.pid()]);
    }

    /// Run by hand: it makes 5,000 cgroups.
    #[test]
    #[ignore = "makes 5,000 cgroups; prints how long they take to list"]
    fn five_thousand_are_listed_quickly() {
        let Some(test) = TestCgroup::new("many") else { return };
        for group in 0..50 {
            for member in 0..99 {
                test.make(&format!("g{group}/m{member}"));
            }
        }
        let begin = std::time::Instant::now();
        let all = list(&test.root).unwrap();
        eprintln!("{} cgroups in {:?}", all.len(), begin.elapsed());
        assert!(all.len() > 5000 && begin.elapsed() < std::time::Duration::from_secs(2));
    }
}
