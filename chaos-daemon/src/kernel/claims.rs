//! Which rules need which targets covered: bookkeeping that touches nothing.

use std::collections::{BTreeMap, HashSet};

use super::RuleId;
use crate::target::Cgroup;

/// Path without its last slash, and the kernel's id. The root's path is empty, so that every other begins
/// with it and a slash; the id tells a cgroup from one that had its name before.
pub(super) type Key = (String, u64);

/// The targets that rules need covered.
#[derive(Default)]
pub(super) struct Claims {
    targets: BTreeMap<Key, Claim>,
}

struct Claim {
    target: Cgroup,
    rules: HashSet<RuleId>,
}

/// What is left of a target's claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Some,
    None,
}

impl Claims {
    pub(super) fn add(&mut self, rule: RuleId, target: &Cgroup) {
        let claim = self.targets.entry(key(target));
        let new = || Claim { target: target.clone(), rules: HashSet::new() };
        claim.or_insert_with(new).rules.insert(rule);
    }

    /// Says whether another rule needs the target. A claim that was never made is as good as taken back.
    pub(super) fn remove(&mut self, rule: RuleId, target: &Cgroup) -> Left {
        let key = key(target);
        let Some(claim) = self.targets.get_mut(&key) else { return Left::None };
        claim.rules.remove(&rule);
        if claim.rules.is_empty() {
            self.targets.remove(&key);
            return Left::None;
        }
        Left::Some
    }

    /// Whether any rule needs the target.
    pub(super) fn has(&self, target: &Cgroup) -> bool {
        self.targets.contains_key(&key(target))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Every target that is claimed, parents before what lies in them.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Cgroup> {
        self.targets.values().map(|claim| &claim.target)
    }

    /// The topmost claimed cgroup at or above a target: the one whose hook sees the target's packets.
    pub(super) fn top(&self, target: &Cgroup) -> Option<&Cgroup> {
        let (path, _) = key(target);
        let ends = path.match_indices('/').map(|(end, _)| end);
        let mut above = ends.map(|end| &path[..end]);
        above.find_map(|path| self.at(path)).or_else(|| {
            let claim = self.targets.get(&key(target))?;
            Some(&claim.target)
        })
    }

    /// Claimed cgroups strictly below a target, parents before what lies in them.
    pub(super) fn below<'a>(
        &'a self,
        target: &Cgroup,
    ) -> impl Iterator<Item = &'a Cgroup> + use<'a> {
        let start = format!("{}/", key(target).0);
        let from = self.targets.range((start.clone(), 0)..);
        from.take_while(move |((path, _), _)| path.starts_with(&start))
            .map(|(_, claim)| &claim.target)
    }

    fn at(&self, path: &str) -> Option<&Cgroup> {
        let mut here = self.targets.range((path.to_owned(), 0)..=(path.to_owned(), u64::MAX));
        here.next().map(|(_, claim)| &claim.target)
    }
}

fn key(target: &Cgroup) -> Key {
    (target.path.as_str().trim_end_matches('/').to_owned(), target.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(path: &str, id: u64) -> Cgroup {
        Cgroup { path: path.parse().unwrap(), id, level: 1 }
    }

    fn claims(paths: &[&str]) -> Claims {
        let mut claims = Claims::default();
        for (id, path) in (1..).zip(paths) {
            claims.add(RuleId(1), &cgroup(path, id));
        }
        claims
    }

    #[test]
    fn the_topmost_claim_covers_what_lies_in_it() {
        for (claimed, target, top) in [
            (&["/a"][..], 0, Some("/a")),
            (&["/a", "/a/b"], 1, Some("/a")),
            (&["/a", "/a/b/c", "/a/b"], 1, Some("/a")),
            (&["/a/b", "/a/b/c"], 1, Some("/a/b")),
            // A name that begins with another is not in it.
            (&["/a", "/ab"], 1, Some("/ab")),
            (&["/", "/a"], 1, Some("/")),
            (&["/", "/a"], 0, Some("/")),
        ] {
            let claims_ = claims(claimed);
            let target = cgroup(claimed[target], target as u64 + 1);
            assert_eq!(claims_.top(&target).map(|top| top.path.as_str()), top, "{claimed:?}");
        }
        assert!(claims(&["/a"]).top(&cgroup("/b", 9)).is_none());
    }

    #[test]
    fn below_is_strictly_below() {
        for (claimed, target, wanted) in [
            (&["/a", "/a/b", "/a/b/c", "/ab", "/b"][..], "/a", &["/a/b", "/a/b/c"][..]),
            (&["/a", "/a/b"], "/a/b", &[]),
            (&["/", "/a", "/b/c"], "/", &["/a", "/b/c"]),
        ] {
            let claims = claims(claimed);
            let below = claims.below(&cgroup(target, 1)).map(|below| below.path.as_str());
            assert_eq!(below.collect::<Vec<_>>(), wanted, "{claimed:?} below {target}");
        }
    }

    #[test]
    fn a_target_stays_claimed_until_its_last_rule_goes() {
        let mut claims = Claims::default();
        let (old, new) = (cgroup("/a", 1), cgroup("/a", 2));
        claims.add(RuleId(1), &old);
        claims.add(RuleId(1), &old);
        claims.add(RuleId(2), &old);
        // Another cgroup under the same name is another target.
        claims.add(RuleId(3), &new);
        assert_eq!(claims.remove(RuleId(1), &old), Left::Some);
        assert_eq!(claims.remove(RuleId(1), &old), Left::Some);
        assert_eq!(claims.remove(RuleId(2), &old), Left::None);
        assert_eq!(claims.targets().collect::<Vec<_>>(), [&new]);
        assert_eq!(claims.top(&new), Some(&new));
        assert_eq!(claims.remove(RuleId(9), &old), Left::None);
        assert_eq!(claims.remove(RuleId(3), &new), Left::None);
        assert!(claims.is_empty());
    }
}
