//! From what a person names to one cgroup.

use chaos_common::target::{CgroupPath, ContainerId, PodUid, Target, UnitName};

use super::{
    error::TargetError,
    identity::{Identity, digits, identify},
    membership::of_process,
    root::{Cgroup, CgroupRoot, normal, steps},
    walk::walk,
};

/// Finds the cgroup behind a target.
///
/// * A unit of the host's own systemd goes before one of the same name that a user's systemd or one in a
///   container runs; of those, the name must be unique.
/// * A container's id may be shortened as long as one container is meant. With containers inside of
///   containers the outermost cgroup of an id is taken.
/// * A process stands for the cgroup it is in now; moving it later moves no fault.
///
/// # Errors
/// When there is none, or more than one; see [`TargetError`].
pub fn resolve(root: &CgroupRoot, target: &Target) -> Result<Cgroup, TargetError> {
    let path = match target {
        Target::Unit(unit) => {
            return choose(target, search(root, |path| is_unit(path, unit))?, own_units);
        }
        Target::Container(id) => return choose(target, containers(root, id)?, outermost),
        Target::Pod(uid) => {
            return choose(target, search(root, |path| is_pod(path, uid))?, outermost);
        }
        Target::Pid(pid) => &of_process(pid.get())?,
        Target::Cgroup(path) => path,
    };
    root.look_up(path)?.ok_or_else(|| TargetError::NotFound { target: target.clone() })
}

fn search(
    root: &CgroupRoot,
    wanted: impl Fn(&CgroupPath) -> bool,
) -> Result<Vec<Cgroup>, TargetError> {
    let mut all = walk(root, &top())?;
    all.retain(|cgroup| wanted(&cgroup.path));
    Ok(all)
}

fn containers(root: &CgroupRoot, wanted: &ContainerId) -> Result<Vec<Cgroup>, TargetError> {
    search(root, |path| match identify(path) {
        Identity::Container { id, .. } => id.starts_with(wanted.as_str()),
        Identity::Unit { .. } | Identity::Pod { .. } | Identity::Cgroup => false,
    })
}

fn is_unit(path: &CgroupPath, unit: &UnitName) -> bool {
    let name = steps(path).last().unwrap_or_default();
    name == unit.as_str() || name.strip_prefix('_') == Some(unit.as_str())
}

fn is_pod(path: &CgroupPath, wanted: &PodUid) -> bool {
    match identify(path) {
        Identity::Pod { uid } => digits(&uid) == digits(wanted.as_str()),
        Identity::Unit { .. } | Identity::Container { .. } | Identity::Cgroup => false,
    }
}

/// The top of the tree.
pub(crate) fn top() -> CgroupPath {
    // "/" is a good path: chaos-common has a test that says so.
    #[expect(clippy::expect_used, reason = "a constant")]
    "/".parse().expect("the root is a path")
}

fn choose(
    target: &Target,
    found: Vec<Cgroup>,
    prefer: impl Fn(&[Cgroup]) -> Vec<Cgroup>,
) -> Result<Cgroup, TargetError> {
    let mut best = prefer(&found);
    match (best.pop(), best.is_empty()) {
        (None, _) => Err(TargetError::NotFound { target: target.clone() }),
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(TargetError::Ambiguous {
            target: target.clone(),
            candidates: found.into_iter().map(|cgroup| cgroup.path).collect(),
        }),
    }
}

/// The host's systemd puts units below slices only; the units of a user's systemd are below
/// `user@UID.service`, and those of a container below its scope.
fn own_units(found: &[Cgroup]) -> Vec<Cgroup> {
    let own = |cgroup: &&Cgroup| {
        let steps: Vec<&str> = steps(&cgroup.path).collect();
        steps.iter().rev().skip(1).all(|above| above.ends_with(".slice"))
    };
    let own: Vec<Cgroup> = found.iter().filter(own).cloned().collect();
    if own.is_empty() { found.to_vec() } else { own }
}

/// Leaves out what is below another one of the same identity.
fn outermost(found: &[Cgroup]) -> Vec<Cgroup> {
    let inner = |cgroup: &Cgroup| {
        found.iter().any(|other| {
            is_below(&cgroup.path, &other.path) && identify(&cgroup.path) == identify(&other.path)
        })
    };
    found.iter().filter(|cgroup| !inner(cgroup)).cloned().collect()
}

/// Whether a cgroup is a descendant of another; both without empty steps.
pub(crate) fn is_below(path: &CgroupPath, of: &CgroupPath) -> bool {
    let of = of.as_str().trim_end_matches('/');
    path.as_str().strip_prefix(of).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// The cgroups above one, the root first; none for the root.
#[must_use]
pub(crate) fn ancestors(path: &CgroupPath) -> Vec<CgroupPath> {
    let path = normal(path);
    let cuts = path.as_str().match_indices('/').map(|(at, _)| at.max(1));
    let above = cuts.filter_map(|at| path.as_str().get(..at)?.parse().ok());
    above.filter(|above| is_below(&path, above)).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::target::testing::{Sleeper, TestCgroup};

    fn found(paths: &[&str]) -> Vec<Cgroup> {
        let cgroup = |path: &&str| Cgroup { path: path.parse().unwrap(), id: 7, level: 1 };
        paths.iter().map(cgroup).collect()
    }

    #[test]
    fn descendants_are_told_from_neighbours() {
        for (path, of, wanted) in [
            ("/a/b", "/a", true),
            ("/a", "/", true),
            ("/a", "/a", false),
            ("/", "/", false),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
        ] {
            assert_eq!(
                is_below(&path.parse().unwrap(), &of.parse().unwrap()),
                wanted,
                "{path} {of}"
            );
        }
    }

    #[test]
    fn ancestors_begin_with_the_root() {
        for (path, wanted) in [("/", &[][..]), ("/a", &["/"]), ("/a//b/c", &["/", "/a", "/a/b"])] {
            let found: Vec<String> =
                ancestors(&path.parse().unwrap()).into_iter().map(String::from).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn units_of_the_host_go_before_others() {
        let user =
            |uid| format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/a.service");
        let (one, two, own) = (user(1), user(2), "/system.slice/a.service".to_owned());
        let target = Target::Unit("a.service".parse().unwrap());
        let pick = |paths: &[&str]| choose(&target, found(paths), own_units);
        assert_eq!(pick(&[&own, &one, &two]).unwrap().path.as_str(), own);
        assert_eq!(pick(&[&one]).unwrap().path.as_str(), one);
        assert!(matches!(pick(&[]), Err(TargetError::NotFound { .. })));
        let error = pick(&[&one, &two]).unwrap_err().to_string();
        assert!(error.contains(&one) && error.contains(&two), "{error}");
    }

    #[test]
    fn the_outermost_cgroup_of_a_container_is_taken() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let outer = format!("/docker/{a}");
        let same = format!("/docker/{a}/docker/{a}");
        let other = format!("/docker/{a}/docker/{b}");
        let paths = |found: Vec<Cgroup>| -> Vec<String> {
            found.into_iter().map(|cgroup| cgroup.path.into()).collect()
        };
        assert_eq!(paths(outermost(&found(&[&outer, &other]))), [outer.as_str(), &other]);
        assert_eq!(paths(outermost(&found(&[&outer, &same]))), [outer]);
    }

    #[test]
    fn every_way_to_name_a_cgroup_leads_to_it() {
        let Some(test) = TestCgroup::new("resolve") else { return };
        let id = format!("{:08x}{}", std::process::id(), "c".repeat(56));
        let uid = format!("{:08x}-0000-4000-8000-000000000000", std::process::id());
        let service = format!("chaos-test-{}.service", std::process::id());
        let container = format!("kubepods/pod{uid}/{id}");
        test.make(&container);
        test.make(&service);
        let sleeper = Sleeper::new();
        test.put(&service, sleeper.pid());

        let find = |target: Target| resolve(&test.root, &target).unwrap();
        let pid = NonZeroU32::new(sleeper.pid()).unwrap();
        let unit = find(Target::Unit(service.parse().unwrap()));
        assert_eq!(unit.path, test.path(&service));
        assert_eq!(unit, find(Target::Pid(pid)));
        assert_eq!(
            unit,
            find(Target::Cgroup(format!("/{}/", test.path(&service)).parse().unwrap()))
        );
        let whole = find(Target::Container(id.parse().unwrap()));
        assert_eq!(whole.path, test.path(&container));
        assert_eq!(whole, find(Target::Container(id[..12].parse().unwrap())));
        let pod = find(Target::Pod(uid.parse().unwrap()));
        assert_eq!(pod.path, test.path(&format!("kubepods/pod{uid}")));
        assert_eq!((pod.level, whole.level), (3, 4));

        test.make(&format!("{}d", &container[..container.len() - 1]));
        let error = resolve(&test.root, &Target::Container(id[..12].parse().unwrap())).unwrap_err();
        assert!(
            matches!(error, TargetError::Ambiguous { ref candidates, .. } if candidates.len() == 2),
            "{error}"
        );
        assert_eq!(whole, find(Target::Container(id.parse().unwrap())));
    }

    #[test]
    fn a_path_that_is_no_cgroup_is_refused() {
        let Some(test) = TestCgroup::new("no-cgroup") else { return };
        let of = |below: &str| resolve(&test.root, &Target::Cgroup(test.path(below))).unwrap_err();
        assert!(matches!(of("none"), TargetError::NotFound { .. }));
        assert!(matches!(of("cgroup.procs"), TargetError::NoCgroup { .. }));
        assert!(matches!(of("cgroup.procs/x"), TargetError::NoCgroup { .. }));
    }
}
