//! Which words the table has that tells the programs of most cgroups in one look that they are no target.
//! Bookkeeping that touches nothing.

use std::collections::BTreeMap;

use chaos_common::abi::target_bit;

/// How many targets share each bit.
#[derive(Default)]
pub(super) struct Bits {
    targets: BTreeMap<(u32, u64), usize>,
}

impl Bits {
    /// A cgroup is a target. Returns the word that changed with it.
    pub(super) fn add(&mut self, cgroup: u64) -> Option<u32> {
        let (word, bit) = target_bit(cgroup);
        let targets = self.targets.entry((word, bit)).or_default();
        *targets += 1;
        (*targets == 1).then_some(word)
    }

    /// Undoes one [`Bits::add`]. Returns the word that changed with it.
    pub(super) fn remove(&mut self, cgroup: u64) -> Option<u32> {
        let (word, bit) = target_bit(cgroup);
        let targets = self.targets.get_mut(&(word, bit))?;
        *targets -= 1;
        (*targets == 0).then(|| {
            self.targets.remove(&(word, bit));
            word
        })
    }

    /// What a word is.
    pub(super) fn word(&self, word: u32) -> u64 {
        let bits = self.targets.range((word, 0)..=(word, u64::MAX));
        bits.fold(0, |bits, ((_, bit), _)| bits | bit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use chaos_common::abi::TARGET_WORDS;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A table that is written as it is told has the bit of every target, and no other.
        #[test]
        fn the_table_follows(steps in prop::collection::vec((0u64..200_000, any::<bool>()), 0..200)) {
            let (mut bits, mut table) = (Bits::default(), HashMap::<u32, u64>::new());
            let mut targets = Vec::new();
            for (cgroup, adds) in steps {
                let changed = if adds || targets.is_empty() {
                    targets.push(cgroup);
                    bits.add(cgroup)
                } else {
                    bits.remove(targets.swap_remove(cgroup as usize % targets.len()))
                };
                table.extend(changed.map(|word| (word, bits.word(word))));
            }
            for word in 0..TARGET_WORDS {
                let here = targets.iter().map(|target| target_bit(*target));
                let wanted = here.filter(|(at, _)| *at == word).fold(0, |bits, (_, bit)| bits | bit);
                prop_assert_eq!(table.get(&word).copied().unwrap_or_default(), wanted);
                prop_assert_eq!(bits.word(word), wanted);
            }
        }
    }
}
