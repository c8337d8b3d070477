//! Every cgroup of a tree.

use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chaos_common::target::CgroupPath;

use super::{
    error::{TargetError, is_gone},
    root::{Cgroup, CgroupRoot},
};

/// Most levels below the start. A path that is longer than the kernel's `PATH_MAX` could not be opened
/// anyway; this keeps a hostile tree from costing more than a wide one.
const MAX_DEPTH: u32 = 256;

/// A cgroup and all below it, sorted by path, parents before children.
///
/// Cgroups that vanish meanwhile are left out, and so are names that are no UTF-8 or make the path too
/// long: nobody could name them as a target. Other mounts and symbolic links are not entered.
///
/// # Errors
/// When the start is not there, or a directory cannot be read.
pub(crate) fn walk(root: &CgroupRoot, from: &CgroupPath) -> Result<Vec<Cgroup>, TargetError> {
    let named = |(dir, stat): (PathBuf, Metadata)| {
        let below = dir.strip_prefix(root.path()).ok()?.to_str()?;
        root.cgroup(&format!("/{below}").parse().ok()?, stat.dev(), stat.ino())
    };
    let mut found: Vec<Cgroup> = dirs(root, from)?.into_iter().filter_map(named).collect();
    found.sort_unstable_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
    Ok(found)
}

/// The directories of a cgroup and of all below it, whatever their names are.
///
/// # Errors
/// As [`walk`].
pub(crate) fn dirs(
    root: &CgroupRoot,
    from: &CgroupPath,
) -> Result<Vec<(PathBuf, Metadata)>, TargetError> {
    let mut found = Vec::new();
    let mut open = vec![(root.dir(from), 0)];
    while let Some((dir, depth)) = open.pop() {
        let stat = match fs::symlink_metadata(&dir) {
            Ok(stat) if stat.is_dir() && root.holds(&stat) => stat,
            Ok(_) => continue,
            Err(error) if depth > 0 && is_gone(&error) => continue,
            Err(error) => return Err(TargetError::io("look at", dir)(error)),
        };
        // kernfs counts a directory's children in its links, which saves reading the many that have none.
        if stat.nlink() > 2 && depth < MAX_DEPTH {
            open.extend(children(&dir)?.into_iter().map(|child| (child, depth + 1)));
        }
        found.push((dir, stat));
    }
    Ok(found)
}

fn children(dir: &Path) -> Result<Vec<PathBuf>, TargetError> {
    let failed = |error| TargetError::io("list", dir)(error);
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_gone(&error) => break,
            Err(error) => return Err(failed(error)),
        };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::testing::TestCgroup;

    fn paths(found: &[Cgroup]) -> Vec<&str> {
        found.iter().map(|cgroup| cgroup.path.as_str()).collect()
    }

    #[test]
    fn finds_everything_below_and_nothing_beside() {
        let Some(test) = TestCgroup::new("walk") else { return };
        for below in ["a", "a/b", "a/b/c", "a-b"] {
            test.make(below);
        }
        let top = test.path("");
        let found = walk(&test.root, &top).unwrap();
        let wanted: Vec<String> = ["", "/a", "/a-b", "/a/b", "/a/b/c"]
            .iter()
            .map(|below| format!("{top}{below}"))
            .collect();
        assert_eq!(paths(&found), wanted);
        assert_eq!(found[4].level, found[0].level + 3);
        assert!(matches!(walk(&test.root, &test.path("none")), Err(TargetError::Io { .. })));
    }

    #[test]
    fn a_tree_that_changes_meanwhile_is_no_error() {
        let Some(test) = TestCgroup::new("walk-race") else { return };
        std::thread::scope(|scope| {
            let churn = scope.spawn(|| {
                for n in 0..300 {
                    let made = test.make(&format!("c{}", n % 7));
                    fs::remove_dir(made).unwrap();
                }
            });
            while !churn.is_finished() {
                walk(&test.root, &test.path("")).unwrap();
            }
        });
    }
}
