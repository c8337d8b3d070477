//! The table that tells the programs of most cgroups in one look that they are no target.

use std::collections::BTreeMap;

use aya::maps::{Array, MapData, MapError};
use chaos_common::abi::{TARGET_WORDS, target_bit};

/// One bit for each remainder of a cgroup's id, and how many targets share it.
pub(super) struct Bits {
    words: Array<MapData, u64>,
    targets: BTreeMap<(u32, u64), usize>,
}

impl Bits {
    pub(super) fn new(words: Array<MapData, u64>) -> Self {
        Self { words, targets: BTreeMap::new() }
    }

    /// A cgroup is a target, once more.
    pub(super) fn add(&mut self, cgroup: u64) -> Result<(), MapError> {
        let (word, bit) = target_bit(cgroup);
        let targets = self.targets.entry((word, bit)).or_default();
        *targets += 1;
        if *targets == 1 { self.write(word) } else { Ok(()) }
    }

    /// Undoes one [`Bits::add`].
    pub(super) fn remove(&mut self, cgroup: u64) -> Result<(), MapError> {
        let (word, bit) = target_bit(cgroup);
        let Some(targets) = self.targets.get_mut(&(word, bit)) else { return Ok(()) };
        *targets -= 1;
        if *targets > 0 {
            return Ok(());
        }
        self.targets.remove(&(word, bit));
        self.write(word)
    }

    /// Clears what an earlier process left.
    pub(super) fn sweep(&mut self) -> Result<(), MapError> {
        for word in 0..TARGET_WORDS {
            if self.words.get(&word, 0)? != self.word(word) {
                self.write(word)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, word: u32) -> Result<(), MapError> {
        self.words.set(word, &self.word(word), 0)
    }

    fn word(&self, word: u32) -> u64 {
        let bits = self.targets.range((word, 0)..=(word, u64::MAX));
        bits.fold(0, |bits, ((_, bit), _)| bits | bit)
    }
}
