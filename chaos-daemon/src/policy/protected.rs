//! Which cgroups of a node are protected, and whether a target touches one.

use std::{collections::BTreeMap, path::Path};

use chaos_common::target::CgroupPath;

use super::{
    always::Always,
    file::Pattern,
    refusal::{Protection, Refusal, Relation},
};
use crate::target::{ancestors, is_below, normal};

/// The protected cgroups of a node, or of the part of it that matters to one target.
#[derive(Clone, Debug)]
pub struct Protected {
    cgroups: BTreeMap<String, (CgroupPath, Protection)>,
}

impl Protected {
    pub(super) fn among<'a>(
        patterns: &[Pattern],
        file: &Path,
        always: &Always,
        cgroups: impl IntoIterator<Item = &'a CgroupPath>,
    ) -> Self {
        let by_glob = |path: &CgroupPath| {
            let pattern = patterns.iter().find(|pattern| pattern.matches(path.as_str()))?;
            let glob = pattern.text().to_owned();
            Some(Protection::Policy { key: pattern.key, glob, file: file.into() })
        };
        let mut protected = BTreeMap::new();
        for path in cgroups {
            let path = normal(path);
            if let Some(why) = by_glob(&path) {
                protected.insert(path.to_string(), (path, why));
            }
        }
        // These come last, as what a policy says does not matter for them; but what is below a cgroup that a
        // policy protects stays protected.
        for (path, why) in [(&always.own, Protection::Own), (&always.init, Protection::Init)] {
            if let Some(path) = path {
                protected.entry(path.to_string()).or_insert_with(|| (path.clone(), why));
            }
        }
        Self { cgroups: protected }
    }

    /// Whether a cgroup may be a target.
    ///
    /// # Errors
    /// [`Refusal::Protected`].
    pub fn check(&self, target: &CgroupPath) -> Result<(), Refusal> {
        let target = normal(target);
        match self.touches(&target) {
            None => Ok(()),
            Some((relation, protection)) => {
                Err(Refusal::Protected { target, relation, protection })
            }
        }
    }

    /// Why a cgroup is no target, for a list of them; `None` if it may be one.
    #[must_use]
    pub fn reason(&self, cgroup: &CgroupPath) -> Option<String> {
        self.touches(&normal(cgroup))
            .map(|(relation, protection)| format!("{relation}{protection}"))
    }

    fn touches(&self, target: &CgroupPath) -> Option<(Relation, Protection)> {
        if target.as_str() == "/" {
            return Some((Relation::Is, Protection::Root));
        }
        if let Some((_, why)) = self.cgroups.get(target.as_str()) {
            return Some((Relation::Is, why.clone()));
        }
        for above in ancestors(target) {
            if let Some((path, why @ Protection::Policy { .. })) = self.cgroups.get(above.as_str())
            {
                return Some((Relation::Below(path.clone()), why.clone()));
            }
        }
        // Everything below "/a" sorts between "/a/" and "/a0".
        let mut below = self.cgroups.range(format!("{target}/")..format!("{target}0"));
        let (path, why) = below.next().map(|(_, found)| found)?;
        debug_assert!(is_below(path, target));
        Some((Relation::Contains(path.clone()), why.clone()))
    }
}
