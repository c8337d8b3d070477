//! Tables of an engine in which prefixes of its rules lie: ranges of addresses, names.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use aya::maps::{LpmTrie, Map, MapData, lpm_trie::Key};
use chaos_common::abi::{Name, Prefix};

use super::{
    KernelError, RuleId,
    tables::{at, gone, is_full, strangers, typed},
};

/// What a prefix is of.
pub(super) trait OfRule: aya::Pod + Eq + Hash {
    /// What such a prefix is called.
    const WHAT: &'static str;

    /// Whose it is.
    fn rule(&self) -> RuleId;
}

impl OfRule for Prefix {
    const WHAT: &'static str = "address ranges";

    fn rule(&self) -> RuleId {
        RuleId(self.rule)
    }
}

impl OfRule for Name {
    const WHAT: &'static str = "names";

    fn rule(&self) -> RuleId {
        RuleId(self.rule)
    }
}

/// A prefix, and whether what begins so matches.
pub(super) type Entry<P> = (Key<P>, u32);

pub(super) struct Prefixes<P: OfRule> {
    table: LpmTrie<MapData, P, u32>,
    /// What was written here.
    owned: HashMap<RuleId, Vec<Key<P>>>,
}

impl<P: OfRule> Prefixes<P> {
    pub(super) fn take(map: Map) -> Result<Self, KernelError> {
        Ok(Self { table: typed(map)?, owned: HashMap::new() })
    }

    /// Writes what a rule does not have. Nothing is ever taken from one that is there, so that their number tells
    /// whether there is any.
    pub(super) fn write(&mut self, id: RuleId, wanted: Vec<Entry<P>>) -> Result<(), KernelError> {
        let owned = self.owned.entry(id).or_default();
        if wanted.len() == owned.len() {
            return Ok(());
        }
        let range = |key: &Key<P>| (key.prefix_len(), key.data());
        let known: HashSet<(u32, P)> = owned.iter().map(range).collect();
        for (key, verdict) in wanted.into_iter().filter(|(key, _)| !known.contains(&range(key))) {
            // Owned before it is written, so that a failure half-way is undone.
            owned.push(key);
            self.table.insert(&key, &verdict, 0).map_err(|source| match is_full(&source) {
                true => KernelError::PrefixesFull(P::WHAT),
                false => at("write a prefix")(source),
            })?;
        }
        Ok(())
    }

    /// Removes what a rule has.
    pub(super) fn remove(&mut self, id: RuleId) -> Result<(), KernelError> {
        for key in self.owned.get(&id).into_iter().flatten() {
            gone(self.table.remove(key)).map_err(at("remove a prefix"))?;
        }
        self.owned.remove(&id);
        Ok(())
    }

    /// Removes what rules have that nobody has.
    pub(super) fn sweep(&mut self, is_owned: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        let is_owned = |key: &Key<P>| {
            let prefix = key.data();
            is_owned(prefix.rule())
        };
        for key in strangers(self.table.keys(), is_owned)? {
            gone(self.table.remove(&key)).map_err(at("sweep a prefix"))?;
        }
        Ok(())
    }
}
