//! What the rules of every engine have in common: which there are, whose they are, and what they saw.

use std::collections::{BTreeMap, HashMap as Memory};

use aya::{
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuHashMap, PerCpuValues},
    util::nr_cpus,
};
use chaos_common::abi::{
    CallRule, Levels, MAX_LEVELS, MAX_RULES_PER_TARGET, NetRule, RuleState, RuleStats,
    TARGET_WORDS, TargetRules,
};

use super::{
    KernelError, RuleId,
    bits::Bits,
    tables::{at, gone, strangers, typed},
};
use crate::target::Cgroup;

/// A rule as an engine's programs read it.
pub(super) trait Record: aya::Pod + Default {
    /// Its name; 0 where there is none.
    fn id(&self) -> u32;
    /// The same under a name.
    fn named(self, id: RuleId) -> Self;
}

impl Record for NetRule {
    fn id(&self) -> u32 {
        self.id
    }

    fn named(self, id: RuleId) -> Self {
        Self { id: id.0, ..self }
    }
}

impl Record for CallRule {
    fn id(&self) -> u32 {
        self.id
    }

    fn named(self, id: RuleId) -> Self {
        Self { id: id.0, ..self }
    }
}

pub(super) struct Ledger<R: Record> {
    levels: Array<MapData, Levels>,
    words: Array<MapData, u64>,
    targets: HashMap<MapData, u64, TargetRules>,
    rules: Array<MapData, R>,
    state: HashMap<MapData, u32, RuleState>,
    stats: PerCpuHashMap<MapData, u32, RuleStats>,
    /// The rules that were put or adopted here.
    owned: Memory<RuleId, Owned>,
    /// Their ids by cgroup id, in the order in which they are asked: by rank, and then the oldest first.
    listed: Memory<u64, Vec<(u32, RuleId)>>,
    /// Which cgroups may have any.
    bits: Bits,
    /// How many cgroups with rules there are at each depth.
    depths: BTreeMap<u32, usize>,
    /// Counters that start a rule, one for each possible CPU.
    zero: Vec<RuleStats>,
}

/// How a rule is listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listing {
    /// Rules of a lower rank are asked first.
    pub(super) rank: u32,
    /// Whether it asks whose socket is at the other end.
    pub(super) asks_peer: bool,
}

/// What is to be written when a rule is listed, besides its target.
struct Changed {
    word: Option<u32>,
    levels: bool,
}

struct Owned {
    cgroup: Cgroup,
    asks_peer: bool,
    /// What it had seen when the programs stopped seeing it.
    last: Option<RuleStats>,
}

impl<R: Record> Ledger<R> {
    /// The tables of an engine, whose rules lie in the table of a name.
    pub(super) fn take(
        mut map: impl FnMut(&'static str) -> Result<Map, KernelError>,
        rules: &'static str,
    ) -> Result<Self, KernelError> {
        let cpus = nr_cpus().map_err(|(file, source)| KernelError::Pin {
            what: "count the CPUs by",
            path: file.into(),
            source,
        })?;
        Ok(Self {
            levels: typed(map("LEVELS")?)?,
            words: typed(map("TARGET_BITS")?)?,
            targets: typed(map("TARGETS")?)?,
            rules: typed(map(rules)?)?,
            state: typed(map("STATE")?)?,
            stats: typed(map("STATS")?)?,
            owned: Memory::new(),
            listed: Memory::new(),
            bits: Bits::default(),
            depths: BTreeMap::new(),
            zero: vec![RuleStats::default(); cpus.get() as usize],
        })
    }

    /// Whether a rule was put or adopted here.
    pub(super) fn owns(&self, id: RuleId) -> bool {
        self.owned.contains_key(&id)
    }

    /// Keeps a rule from now on, so that a failure half-way is undone by [`Ledger::remove`].
    pub(super) fn own(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        listing: Listing,
    ) -> Result<(), KernelError> {
        self.admit(target)?;
        let asks_peer = listing.asks_peer;
        self.owned.insert(id, Owned { cgroup: target.clone(), asks_peer, last: None });
        Ok(())
    }

    /// Lets the programs find an owned rule, once all else of it is written.
    pub(super) fn put(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        rule: R,
        listing: Listing,
    ) -> Result<(), KernelError> {
        self.state.insert(&id.0, &RuleState::default(), 0).map_err(at("write a rule's state"))?;
        let zero = PerCpuValues::try_from(self.zero.clone())
            .map_err(|source| at("size a rule's counters")(source.into()))?;
        self.stats.insert(&id.0, zero, 0).map_err(at("write a rule's counters"))?;
        self.write(id, rule).map_err(at("write a rule"))?;
        self.list((listing.rank, id), target)
    }

    /// Replaces a rule in one step, as far as a program can tell: only its deadline differs, and whether it asks for
    /// peers.
    pub(super) fn replace(
        &mut self,
        id: RuleId,
        rule: R,
        listing: Listing,
    ) -> Result<(), KernelError> {
        self.write(id, rule).map_err(at("replace a rule"))?;
        let Some(owned) = self.owned.get_mut(&id) else { return Ok(()) };
        if owned.asks_peer == listing.asks_peer {
            return Ok(());
        }
        owned.asks_peer = listing.asks_peer;
        let cgroup = owned.cgroup.id;
        self.write_target(cgroup)
    }

    /// Takes over a rule that an earlier process put. False, and nothing changed, if it is not whole.
    ///
    /// Nothing is written: the tables list what the earlier process had, of which more may be taken over.
    /// [`Ledger::sweep`] writes them, once all is.
    pub(super) fn adopt(&mut self, id: RuleId, target: &Cgroup, listing: Listing) -> bool {
        let is_whole = self.is_written(id)
            && self.state.get(&id.0, 0).is_ok()
            && self.stats.get(&id.0, 0).is_ok();
        if !is_whole || self.own(id, target, listing).is_err() {
            return false;
        }
        self.enlist((listing.rank, id), target);
        true
    }

    /// Hides a rule and says what it saw in its life, if it was there. Programs see a rule only through
    /// `TARGETS`, so that goes first; what they counted until then is all there will be.
    pub(super) fn hide(&mut self, id: RuleId) -> Result<Option<RuleStats>, KernelError> {
        if let Some(owned) = self.owned.get(&id) {
            let cgroup = owned.cgroup.clone();
            self.unlist(id, &cgroup)?;
        }
        let seen = self.stats(id);
        if let Some(owned) = self.owned.get_mut(&id) {
            owned.last = seen;
        }
        self.erase(id)?;
        Ok(seen)
    }

    /// Forgets a rule that is hidden.
    pub(super) fn forget(&mut self, id: RuleId) {
        self.owned.remove(&id);
    }

    /// Whether the programs can find a rule, as far as the tables say: for one of an earlier process,
    /// whether it is there.
    pub(super) fn has(&self, id: RuleId) -> bool {
        let is_listed = self.owned.get(&id).is_none_or(|owned| {
            let listed = self.targets.get(&owned.cgroup.id, 0);
            listed.is_ok_and(|target| {
                target.rules.iter().take(target.len as usize).any(|rule| *rule == id.0)
            })
        });
        is_listed && self.is_written(id)
    }

    fn is_written(&self, id: RuleId) -> bool {
        self.rules.get(&id.place(), 0).is_ok_and(|rule| rule.id() == id.0)
    }

    fn write(&mut self, id: RuleId, rule: R) -> Result<(), MapError> {
        self.rules.set(id.place(), &rule.named(id), 0)
    }

    /// Makes the tables say what is put or adopted here, and nothing else. Says which rules went.
    pub(super) fn sweep(&mut self) -> Result<Vec<RuleId>, KernelError> {
        let listed: Vec<u64> = self.listed.keys().copied().collect();
        for cgroup in listed {
            self.write_target(cgroup)?;
        }
        for word in 0..TARGET_WORDS {
            if self.words.get(&word, 0).map_err(at("read the marks of targets"))?
                != self.bits.word(word)
            {
                self.write_word(word)?;
            }
        }
        self.write_levels()?;
        for cgroup in strangers(self.targets.keys(), |id| self.listed.contains_key(id))? {
            gone(self.targets.remove(&cgroup)).map_err(at("sweep a target"))?;
        }
        let is_owned = |id: &u32| self.owned.contains_key(&RuleId(*id));
        // A rule without state or counters cannot fire, so these say which there are.
        let mut rules = strangers(self.state.keys(), is_owned)?;
        rules.extend(strangers(self.stats.keys(), is_owned)?);
        for id in &rules {
            self.erase(RuleId(*id))?;
        }
        Ok(rules.into_iter().map(RuleId).collect())
    }

    pub(super) fn stats(&self, id: RuleId) -> Option<RuleStats> {
        let last = self.owned.get(&id).and_then(|owned| owned.last);
        last.or_else(|| {
            let cpus = self.stats.get(&id.0, 0).ok()?;
            let mut sum = RuleStats::default();
            cpus.iter().for_each(|cpu| sum += *cpu);
            Some(sum)
        })
    }

    /// Refuses what the kernel's records have no room for.
    pub(super) fn admit(&self, target: &Cgroup) -> Result<(), KernelError> {
        let rules = self.listed.get(&target.id).map_or(0, Vec::len);
        if rules >= MAX_RULES_PER_TARGET {
            return Err(KernelError::TargetFull { cgroup: target.path.to_string(), rules });
        }
        if !self.depths.contains_key(&target.level) && self.depths.len() >= MAX_LEVELS {
            return Err(KernelError::TooManyLevels {
                cgroup: target.path.to_string(),
                level: target.level,
                levels: self.depths.len(),
            });
        }
        Ok(())
    }

    /// Lets the programs find a rule.
    fn list(&mut self, id: (u32, RuleId), target: &Cgroup) -> Result<(), KernelError> {
        let Changed { word, levels } = self.enlist(id, target);
        if let Some(word) = word {
            self.write_word(word)?;
        }
        if levels {
            self.write_levels()?;
        }
        self.write_target(target.id)
    }

    /// Keeps the books of [`Ledger::list`].
    fn enlist(&mut self, id: (u32, RuleId), target: &Cgroup) -> Changed {
        let rules = self.listed.entry(target.id).or_default();
        rules.push(id);
        rules.sort_unstable();
        if rules.len() > 1 {
            return Changed { word: None, levels: false };
        }
        let there = self.depths.entry(target.level).or_default();
        *there += 1;
        Changed { word: self.bits.add(target.id), levels: *there == 1 }
    }

    /// Hides a rule from the programs.
    fn unlist(&mut self, id: RuleId, target: &Cgroup) -> Result<(), KernelError> {
        let Some(rules) = self.listed.get_mut(&target.id) else { return Ok(()) };
        rules.retain(|(_, rule)| *rule != id);
        let is_last = rules.is_empty();
        self.write_target(target.id)?;
        if !is_last {
            return Ok(());
        }
        self.listed.remove(&target.id);
        let left = self.depths.get(&target.level).map_or(0, |count| count.saturating_sub(1));
        self.depths.insert(target.level, left);
        self.depths.retain(|_, count| *count > 0);
        // What follows only costs time if it is left; the next sweep would repeat it.
        let word = self.bits.remove(target.id).map_or(Ok(()), |word| self.write_word(word));
        word.and(if left == 0 { self.write_levels() } else { Ok(()) })
    }

    fn write_target(&mut self, cgroup: u64) -> Result<(), KernelError> {
        let rules = self.listed.get(&cgroup).map_or(&[][..], Vec::as_slice);
        if rules.is_empty() {
            return gone(self.targets.remove(&cgroup)).map_err(at("remove a target"));
        }
        let asks = |(_, id): &(u32, RuleId)| self.owned.get(id).is_some_and(|own| own.asks_peer);
        let asks_peer = u32::from(rules.iter().any(asks));
        let mut record = TargetRules { len: rules.len() as u32, asks_peer, ..Default::default() };
        for (slot, (_, id)) in record.rules.iter_mut().zip(rules) {
            *slot = id.0;
        }
        self.targets.insert(&cgroup, &record, 0).map_err(at("write a target"))
    }

    fn write_levels(&mut self) -> Result<(), KernelError> {
        let mut record = Levels { len: self.depths.len() as u32, ..Default::default() };
        for (slot, level) in record.levels.iter_mut().zip(self.depths.keys()) {
            *slot = *level;
        }
        self.levels.set(0, &record, 0).map_err(at("write the levels"))
    }

    fn write_word(&mut self, word: u32) -> Result<(), KernelError> {
        self.words.set(word, &self.bits.word(word), 0).map_err(at("mark a target"))
    }

    fn erase(&mut self, id: RuleId) -> Result<(), KernelError> {
        if self.is_written(id) {
            let nothing = R::default();
            self.rules.set(id.place(), &nothing, 0).map_err(at("remove a rule"))?;
        }
        gone(self.state.remove(&id.0)).map_err(at("remove a rule's state"))?;
        gone(self.stats.remove(&id.0)).map_err(at("remove a rule's counters"))
    }
}
