//! What covers patterns of paths in a tree of mounts, as narrowly as it can be said.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use chaos_common::value::PathGlob;
use procfs::process::MountInfo;

use super::places::Scope;

/// What covers a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cover {
    Scope(Scope),
    /// Every directory from there on.
    Tree,
}

/// The places that cover patterns, in a tree of mounts. Where others share the mounts they are not marked.
pub(super) fn covering(
    globs: &[PathGlob],
    mounts: &[MountInfo],
    is_shared: bool,
) -> BTreeSet<(PathBuf, Cover)> {
    let mut places = BTreeSet::new();
    for glob in globs {
        let (directory, rest) = split(glob);
        let below = || mounts.iter().filter(|mount| mount.mount_point.starts_with(&directory));
        if rest.contains('/') || rest.contains("**") {
            if is_shared {
                places.insert((directory.clone(), Cover::Tree));
                continue;
            }
            let around = mount_of(mounts, &directory).map(|mount| mount.mount_point.clone());
            let all = around.into_iter().chain(below().map(|mount| mount.mount_point.clone()));
            places.extend(all.map(|path| (path, Cover::Scope(Scope::Mount))));
            continue;
        }
        places.insert((directory.clone(), Cover::Scope(Scope::Directory)));
        if glob.is_literal() {
            places.insert((directory.join(&rest), Cover::Scope(Scope::File)));
        }
        // What is mounted on a file lies in the directory by its name only.
        let mounted = below().filter(|mount| mount.mount_point.parent() == Some(&directory));
        places.extend(mounted.map(|mount| (mount.mount_point.clone(), Cover::Scope(Scope::File))));
    }
    places
}

/// The directory in which everything lies that a pattern is about, and what it says of the rest.
fn split(glob: &PathGlob) -> (PathBuf, String) {
    let text = glob.to_string();
    if !text.starts_with('/') {
        return (PathBuf::from("/"), format!("**/{text}"));
    }
    let slash = glob.literal().rfind('/').unwrap_or(0);
    let directory = if slash == 0 { "/" } else { &text[..slash] };
    (PathBuf::from(directory), text[slash + 1..].to_owned())
}

/// The mount in which a path lies: of several at one place the last is on top.
pub(super) fn mount_of<'a>(mounts: &'a [MountInfo], path: &Path) -> Option<&'a MountInfo> {
    let around = mounts.iter().filter(|mount| path.starts_with(&mount.mount_point));
    around.max_by_key(|mount| mount.mount_point.components().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Vec<MountInfo> {
        let line = |id: u32, at: &str| {
            MountInfo::from_line(&format!("{id} 1 0:1 / {at} rw - ext4 none rw")).unwrap()
        };
        [(20, "/"), (21, "/data"), (22, "/data/in"), (23, "/etc/hosts"), (24, "/database")]
            .map(|(id, at)| line(id, at))
            .into()
    }

    fn covered(glob: &str, is_shared: bool) -> Vec<String> {
        let places = covering(&[glob.parse().unwrap()], &mounts(), is_shared);
        places.into_iter().map(|(path, cover)| format!("{} {cover:?}", path.display())).collect()
    }

    #[test]
    fn patterns_are_covered_narrowly() {
        let own = |glob| covered(glob, false);
        assert_eq!(own("/data/a/file"), ["/data/a Scope(Directory)", "/data/a/file Scope(File)"]);
        assert_eq!(own("/data/a/*.db"), ["/data/a Scope(Directory)"]);
        assert_eq!(own("/data/**"), ["/data Scope(Mount)", "/data/in Scope(Mount)"]);
        assert_eq!(own("/data/a/**"), ["/data Scope(Mount)"]);
        assert_eq!(own("/etc/h*"), ["/etc Scope(Directory)", "/etc/hosts Scope(File)"]);
        assert_eq!(own("/data/*/x"), ["/data Scope(Mount)", "/data/in Scope(Mount)"]);
        assert_eq!(own("/{data,etc}/x").len(), 5);
        assert_eq!(own("*.log").len(), 5);
        assert_eq!(covered("/data/**", true), ["/data Tree"]);
        assert_eq!(covered("*.log", true), ["/ Tree"]);
        assert_eq!(covered("/data/*", true)[0], "/data Scope(Directory)");
    }
}
