//! A rule about calls, before it has a name.

use std::fmt;

use aya::maps::lpm_trie::Key;
use chaos_common::{
    abi::{CallRule, Glob, GlobOf, PREFIX_EXCEPT, PREFIX_INCLUDE, Prefix},
    value::{Cidr, PathGlob, Remotes},
};

use super::glob;
use crate::kernel::{KernelError, RuleId, prefixes::Entry, rule_spec::without};

/// A rule, and what of it lies in other tables.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSpec {
    /// What the programs read.
    pub rule: CallRule,
    /// Paths of files, and those but not.
    pub paths: (Vec<PathGlob>, Vec<PathGlob>),
    /// Paths of programs.
    pub programs: Vec<PathGlob>,
    /// Addresses of the other end, and those but not.
    pub remotes: (Remotes, Remotes),
    /// What it is about, for people.
    pub about: String,
    /// What of that is left out, and why.
    pub missing: String,
}

impl fmt::Display for CallSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without(f, &self.about, &self.missing)
    }
}

impl CallSpec {
    /// Whether its patterns can be written.
    ///
    /// # Errors
    /// When they cannot.
    pub(in crate::kernel) fn check(&self) -> Result<(), KernelError> {
        self.globs().map(drop)
    }

    pub(super) fn globs(&self) -> Result<Vec<(GlobOf, Box<Glob>)>, KernelError> {
        let (include, except) = &self.paths;
        let all = [
            (GlobOf::File, include.as_slice(), except.as_slice()),
            (GlobOf::Program, &self.programs, &[]),
        ];
        let asked = all
            .into_iter()
            .filter(|(_, include, except)| !include.is_empty() || !except.is_empty());
        let compile = |(of, include, except): (GlobOf, &[PathGlob], &[PathGlob])| {
            Ok((of, glob::compile(include, except).map_err(KernelError::Patterns)?))
        };
        asked.map(compile).collect()
    }

    pub(super) fn prefixes(&self, id: RuleId) -> Vec<Entry<Prefix>> {
        let include = self.remotes.0.iter().map(|cidr| (cidr, PREFIX_INCLUDE));
        let except = self.remotes.1.iter().map(|cidr| (cidr, PREFIX_EXCEPT));
        let entry = |(cidr, verdict): (Cidr, u32)| {
            let (bits, prefix) = cidr.to_abi(id.0);
            (Key::new(bits, prefix), verdict)
        };
        include.chain(except).map(entry).collect()
    }
}
