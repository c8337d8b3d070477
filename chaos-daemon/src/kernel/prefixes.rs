//! The table of an engine in which address ranges of its rules lie.

use std::collections::{HashMap, HashSet};

use aya::maps::{LpmTrie, Map, MapData, lpm_trie::Key};
use chaos_common::abi::Prefix;

use super::{
    KernelError, RuleId,
    tables::{at, gone, is_full, strangers, typed},
};

/// A range, and whether its addresses match.
pub(super) type Entry = (Key<Prefix>, u32);

pub(super) struct Prefixes {
    table: LpmTrie<MapData, Prefix, u32>,
    /// What was written here.
    owned: HashMap<RuleId, Vec<Key<Prefix>>>,
}

impl Prefixes {
    pub(super) fn take(map: Map) -> Result<Self, KernelError> {
        Ok(Self { table: typed(map)?, owned: HashMap::new() })
    }

    /// Writes the ranges that a rule does not have. None is ever taken from one that is there, so that their number
    /// tells whether there are any.
    pub(super) fn write(&mut self, id: RuleId, wanted: Vec<Entry>) -> Result<(), KernelError> {
        let owned = self.owned.entry(id).or_default();
        if wanted.len() == owned.len() {
            return Ok(());
        }
        let range = |key: &Key<Prefix>| (key.prefix_len(), key.data());
        let known: HashSet<(u32, Prefix)> = owned.iter().map(range).collect();
        for (key, verdict) in wanted.into_iter().filter(|(key, _)| !known.contains(&range(key))) {
            // Owned before it is written, so that a failure half-way is undone.
            owned.push(key);
            self.table.insert(&key, &verdict, 0).map_err(|source| match is_full(&source) {
                true => KernelError::PrefixesFull,
                false => at("write an address range")(source),
            })?;
        }
        Ok(())
    }

    /// Removes the ranges of a rule.
    pub(super) fn remove(&mut self, id: RuleId) -> Result<(), KernelError> {
        for key in self.owned.get(&id).into_iter().flatten() {
            gone(self.table.remove(key)).map_err(at("remove an address range"))?;
        }
        self.owned.remove(&id);
        Ok(())
    }

    /// Removes the ranges of rules that nobody has.
    pub(super) fn sweep(&mut self, is_owned: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        let is_owned = |key: &Key<Prefix>| {
            let prefix = key.data();
            is_owned(RuleId(prefix.rule))
        };
        for key in strangers(self.table.keys(), is_owned)? {
            gone(self.table.remove(&key)).map_err(at("sweep an address range"))?;
        }
        Ok(())
    }
}
