//! Owns what this node allows: how long, how many, and on which cgroups never.
//!
//! # The file
//! YAML, by default `/etc/chaos/policy.yaml`; every key may be left out, unknown keys are errors.
//!
//! | key | default | meaning |
//! |---|---|---|
//! | `maxDuration` | `1h` | longest duration of an injection, also of a renewal |
//! | `maxInjections` | `16384` | most injections that are live at once; `0` allows none |
//! | `protected` | [`DEFAULT_PROTECTED`] | globs of cgroups that are no target; **replaces** the default |
//! | `protectedAlso` | empty | more of them; **adds** to `protected` or its default |
//! | `reportNames` | `true` | whether watchers are told which names targets ask name servers for |
//!
//! A glob is matched against the whole path below the cgroup2 mount. `*` and `?` do not match `/`, `**`
//! does; `{a,b}` and `[ab]` work as usual; a backslash is a backslash, since systemd's names have them.
//!
//! # What is refused
//! A target that is a protected cgroup, that contains one, or that is below one. The root cgroup, the
//! daemon's own and that of process 1 are always protected; what is below these may be a target.

mod always;
mod defaults;
mod file;
mod protected;
mod refusal;

use std::path::PathBuf;

use chaos_common::{spec::Spec, target::CgroupPath, value::Lifetime};

pub use always::Always;
pub use defaults::{DEFAULT_PATH, DEFAULT_PROTECTED};
pub use file::PolicyError;
pub use protected::Protected;
pub use refusal::{Protection, Refusal, Relation};

use file::Pattern;

use crate::target::{Cgroup, CgroupRoot, TargetError, ancestors, walk};

/// What this node allows.
#[derive(Clone, Debug)]
pub struct Policy {
    max_duration: Lifetime,
    max_injections: u32,
    report_names: bool,
    protected: Vec<Pattern>,
    /// For messages; the file need not exist.
    file: PathBuf,
}

impl Policy {
    /// For an engine that aims at nothing but cgroups it made itself: any duration, nothing protected but
    /// what always is.
    #[must_use]
    pub fn of_own_children() -> Self {
        Self {
            max_duration: Lifetime::MAX,
            max_injections: u32::MAX,
            report_names: true,
            protected: Vec::new(),
            file: DEFAULT_PATH.into(),
        }
    }

    /// Whether an injection may be made: its duration, its number and its target.
    ///
    /// `protected` is that of [`Self::protected_around`] for this cgroup or of
    /// [`Self::protected_among`] for a list with everything below it; `live` is the number of live
    /// injections without this one.
    ///
    /// # Errors
    /// The first reason against it.
    pub fn check(
        &self,
        spec: &Spec,
        cgroup: &Cgroup,
        protected: &Protected,
        live: usize,
    ) -> Result<(), Refusal> {
        self.check_duration(spec.duration)?;
        self.check_number(live)?;
        protected.check(&cgroup.path)
    }

    /// Whether watchers are told which names targets ask name servers for.
    #[must_use]
    pub fn reports_names(&self) -> bool {
        self.report_names
    }

    /// Whether an injection may last so long, from now on.
    ///
    /// # Errors
    /// [`Refusal::TooLong`].
    pub fn check_duration(&self, asked: Lifetime) -> Result<(), Refusal> {
        let (max, file) = (self.max_duration, self.file.clone());
        if asked > max { Err(Refusal::TooLong { asked, max, file }) } else { Ok(()) }
    }

    /// Whether there may be one more injection.
    ///
    /// # Errors
    /// [`Refusal::TooMany`].
    pub fn check_number(&self, live: usize) -> Result<(), Refusal> {
        let (max, file) = (self.max_injections, self.file.clone());
        if u32::try_from(live).is_ok_and(|live| live < max) {
            Ok(())
        } else {
            Err(Refusal::TooMany { live, max, file })
        }
    }

    /// The protected cgroups among some, which must have every ancestor and every descendant of what is
    /// to be checked with the result.
    pub fn protected_among<'a>(
        &self,
        always: &Always,
        cgroups: impl IntoIterator<Item = &'a CgroupPath>,
    ) -> Protected {
        Protected::among(&self.protected, &self.file, always, cgroups)
    }

    /// The protected cgroups that matter to one target: itself, above it and below it.
    ///
    /// # Errors
    /// When the kernel does not answer, or the target is gone.
    pub fn protected_around(
        &self,
        root: &CgroupRoot,
        target: &CgroupPath,
    ) -> Result<Protected, TargetError> {
        let below: Vec<CgroupPath> =
            walk(root, target)?.into_iter().map(|cgroup| cgroup.path).collect();
        let above = ancestors(target);
        Ok(self.protected_among(&Always::read()?, above.iter().chain(&below)))
    }
}

#[cfg(test)]
mod tests;
