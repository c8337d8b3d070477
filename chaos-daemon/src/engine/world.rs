//! The engine's memory: what is live, what has ended, and the kernel. One lock guards it all.

use std::collections::{BTreeSet, HashMap, VecDeque, vec_deque};

use chaos_common::{
    abi::MAX_RULES,
    fault::{Fault, Others},
    injection::Injection,
    spec::{InjectionId, Spec},
};

use super::{
    audit::{Action, Audit},
    cgroup_watch::CgroupWatch,
    error::EngineError,
    injection::{Ending, Live, Phase},
    record::{Record, now_ms},
    recovery::{Decision, Facts, decide},
};
use crate::{
    boot_clock::BootTime,
    effect::{Effect, Owner},
    fault::{self, Limits},
    kernel::{Kernel, KernelError, RuleId},
    target::{Cgroup, CgroupRoot},
};

/// Ended injections that are remembered.
const REMEMBERED: usize = 1024;

pub(super) struct World {
    pub(super) root: CgroupRoot,
    pub(super) kernel: Kernel,
    pub(super) cgroups: CgroupWatch,
    pub(super) live: HashMap<InjectionId, Live>,
    /// By the places of their rules.
    by_place: HashMap<u32, InjectionId>,
    pub(super) closing: bool,
    boot_id: String,
    next_rule: u32,
    audit: Option<Audit>,
    ended: VecDeque<Injection>,
    due: BTreeSet<(BootTime, InjectionId)>,
    next_order: u64,
}

impl World {
    pub(super) fn new(
        root: CgroupRoot,
        kernel: Kernel,
        cgroups: CgroupWatch,
        audit: Option<Audit>,
        boot_id: String,
    ) -> Self {
        Self {
            root,
            kernel,
            cgroups,
            live: HashMap::new(),
            by_place: HashMap::new(),
            closing: false,
            boot_id,
            next_rule: 1,
            audit,
            ended: VecDeque::new(),
            due: BTreeSet::new(),
            next_order: 0,
        }
    }

    /// Takes a name, a rule and a place in memory for an injection, and says what to journal.
    pub(super) fn reserve(
        &mut self,
        id: InjectionId,
        spec: &Spec,
        target: Cgroup,
        others: Others,
        who: &str,
    ) -> Result<Record, EngineError> {
        if self.closing {
            return Err(EngineError::ShuttingDown);
        }
        let record = Record {
            id,
            spec: spec.clone(),
            cgroup: target.path,
            cgroup_id: target.id,
            cgroup_level: target.level,
            seed: spec.seed.unwrap_or_else(random),
            rule: self.free_rule()?,
            boot_id: self.boot_id.clone(),
            deadline: BootTime::now().after(spec.duration.get()),
            others,
            created_at_ms: now_ms(),
            requested_by: who.to_owned(),
        };
        self.admit(&self.plan(&record)?, &record.target())?;
        self.insert(record.clone(), Phase::Applying)?;
        Ok(record)
    }

    /// Puts a record into memory, with its effects.
    pub(super) fn insert(&mut self, record: Record, phase: Phase) -> Result<(), EngineError> {
        if self.live.contains_key(&record.id) {
            return Err(EngineError::IdTaken(record.id));
        }
        if let Some(other) = self.by_place.get(&record.rule.place()) {
            return Err(EngineError::RuleTaken { id: record.id, other: other.clone() });
        }
        let effects = self.plan(&record)?;
        self.next_rule = self.next_rule.max(record.rule.0.checked_add(1).unwrap_or(1));
        let order = self.next_order;
        self.next_order += 1;
        self.cgroups.add(&self.root.dir(&record.cgroup));
        self.by_place.insert(record.rule.place(), record.id.clone());
        let live = Live::new(record, effects, phase, order);
        self.due.insert((live.due(), live.record.id.clone()));
        self.live.insert(live.record.id.clone(), live);
        Ok(())
    }

    /// Takes an injection out of memory, of which nothing is on the node.
    pub(super) fn forget(&mut self, id: &InjectionId) {
        if let Some(live) = self.live.remove(id) {
            self.due.remove(&(live.due(), id.clone()));
            self.by_place.remove(&live.record.rule.place());
            self.cgroups.remove(&self.root.dir(&live.record.cgroup));
        }
    }

    pub(super) fn plan(&self, record: &Record) -> Result<Vec<Effect>, EngineError> {
        let limits =
            Limits { deadline: record.deadline, times: record.spec.times, seed: record.seed };
        self.plan_fault(&record.spec.fault, &record.others, &limits)
    }

    pub(super) fn plan_fault(
        &self,
        fault: &Fault,
        others: &Others,
        limits: &Limits,
    ) -> Result<Vec<Effect>, EngineError> {
        let support = self.kernel.support();
        if others.is_empty() {
            return Ok(fault::plan(fault, limits, support)?);
        }
        Ok(fault::plan(&fault.clone().aimed_at(others)?, limits, support)?)
    }

    /// Looks whether effects could be applied to a target.
    pub(super) fn admit(&self, effects: &[Effect], target: &Cgroup) -> Result<(), EngineError> {
        let mut admitted = effects.iter().map(|effect| effect.admit(target, &self.kernel));
        admitted.try_for_each(|admitted| admitted.map_err(|error| self.refusal(error)))
    }

    /// Why the kernel refused, with the injection's id where a rule was named.
    pub(super) fn refusal(&self, error: KernelError) -> EngineError {
        if let KernelError::PortHeld { port, rule } = &error
            && let Some(owner) = self.owner(*rule)
        {
            return EngineError::PortHeld { port: port.clone(), id: owner.record.id.clone() };
        }
        error.into()
    }

    /// What there is to know for a decision about an injection, with its effects as they were seen last.
    pub(super) fn facts(
        &self,
        live: &Live,
        now: BootTime,
        lease: BootTime,
        is_recovering: bool,
    ) -> Facts<'_> {
        let target = live.record.target();
        let owner = Owner { rule: live.record.rule, target: &target };
        Facts {
            boot_id: &self.boot_id,
            now,
            lease,
            is_recovering,
            target_is_there: self.target_is_there(&live.record),
            lost: live
                .effects
                .iter()
                .find(|effect| !effect.observe(owner, &self.kernel))
                .map(Effect::lost),
        }
    }

    /// Live injections that cannot go on, with how they end.
    pub(super) fn doomed(&self) -> Vec<(InjectionId, Ending)> {
        let now = BootTime::now();
        // What somebody is busy with is looked at by whoever it is.
        let active = self.live.values().filter(|live| live.phase == Phase::Active);
        let doomed = active.filter_map(|live| {
            match decide(&live.record, &self.facts(live, now, BootTime::NEVER, false)) {
                Decision::End(ending) => Some((live.record.id.clone(), ending)),
                Decision::GoOn => None,
            }
        });
        doomed.collect()
    }

    /// Live injections whose cgroup is no more, or is another one under the same name.
    pub(super) fn orphans(&self) -> Vec<InjectionId> {
        let settled = self.live.values().filter(|live| live.is_settled());
        let orphans = settled.filter(|live| !self.target_is_there(&live.record));
        orphans.map(|live| live.record.id.clone()).collect()
    }

    pub(super) fn target_is_there(&self, record: &Record) -> bool {
        let there = self.root.look_up(&record.cgroup);
        matches!(there, Ok(Some(there)) if there.id == record.cgroup_id)
    }

    /// A live injection that is neither being applied nor stuck.
    pub(super) fn active(&self, id: &InjectionId) -> Result<&Live, EngineError> {
        match (self.live.get(id), self.find(id)) {
            (Some(live), _) if live.phase == Phase::Active => Ok(live),
            (_, Some(other)) => {
                Err(EngineError::Over { id: id.clone(), state: other.state.word() })
            }
            (_, None) => Err(EngineError::Unknown(id.clone())),
        }
    }

    /// A name for an injection whose client gave none. Of ten thousand, two draw the same by chance once in a hundred times.
    pub(super) fn fresh_id(&self, spec: &Spec) -> InjectionId {
        let (family, kind) = spec.fault.kind().words();
        loop {
            let name = format!("{family}-{kind}-{:08x}", random() as u32);
            // Made of nothing but what an id may hold.
            let id = name.parse().unwrap_or_else(|_| unreachable!("{name} is an id"));
            if self.find(&id).is_none() {
                return id;
            }
        }
    }

    /// When the keeper has to act next: the lease while anything is live, a deadline, or a hop that drains.
    pub(super) fn next_due(&self) -> BootTime {
        let drain = self.kernel.drain_due();
        let Some((due, _)) = self.due.first() else { return drain };
        self.kernel.lease().due().min(*due).min(drain)
    }

    /// Injections whose deadline or retry has come.
    pub(super) fn due(&self) -> Vec<InjectionId> {
        let now = BootTime::now();
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        due.map(|(_, id)| id.clone()).collect()
    }

    /// One injection as it is now, if it is remembered.
    pub(super) fn find(&self, id: &InjectionId) -> Option<Injection> {
        match self.live.get(id) {
            Some(live) => Some(self.view(live)),
            None => self.ended.iter().rev().find(|ended| ended.id == *id).cloned(),
        }
    }

    pub(super) fn view(&self, live: &Live) -> Injection {
        let counters = match &live.phase {
            Phase::Stuck(stuck) => stuck.counters,
            Phase::Applying | Phase::Active | Phase::Renewing => {
                self.kernel.stats(live.record.rule)
            }
        };
        live.view(counters)
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = &Live> {
        let mut live: Vec<&Live> = self.live.values().collect();
        live.sort_unstable_by_key(|live| live.order);
        live.into_iter()
    }

    /// Ids of all that is live, oldest first.
    pub(super) fn ids(&self) -> Vec<InjectionId> {
        self.in_order().map(|live| live.record.id.clone()).collect()
    }

    pub(super) fn ended_in_order(&self) -> vec_deque::Iter<'_, Injection> {
        self.ended.iter()
    }

    pub(super) fn audit(&mut self, who: &str, action: Action<'_>) {
        if let Some(audit) = &mut self.audit {
            audit.log(who, action);
        }
    }

    pub(super) fn remember(&mut self, injection: Injection) {
        if self.ended.len() == REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back(injection);
    }

    /// The id of a rule that has a place to itself. Ids come again as late as can be.
    fn free_rule(&mut self) -> Result<RuleId, KernelError> {
        for _ in 0..MAX_RULES {
            let rule = RuleId(self.next_rule);
            self.next_rule = self.next_rule.checked_add(1).unwrap_or(1);
            if !self.by_place.contains_key(&rule.place()) {
                return Ok(rule);
            }
        }
        Err(KernelError::NodeFull { rules: MAX_RULES })
    }

    /// Whose rule it is.
    pub(super) fn owner(&self, rule: RuleId) -> Option<&Live> {
        let live = self.live.get(self.by_place.get(&rule.place())?)?;
        (live.record.rule == rule).then_some(live)
    }

    /// Puts a live injection in the place of the one with its id.
    pub(super) fn replace(&mut self, live: Live) {
        let id = live.record.id.clone();
        self.due.insert((live.due(), id.clone()));
        let due = live.due();
        if let Some(old) = self.live.insert(id.clone(), live)
            && old.due() != due
        {
            self.due.remove(&(old.due(), id));
        }
    }

    pub(super) fn set_phase(&mut self, id: &InjectionId, phase: Phase) {
        if let Some(live) = self.live.get_mut(id) {
            self.due.remove(&(live.due(), id.clone()));
            live.phase = phase;
            self.due.insert((live.due(), id.clone()));
        }
    }
}

/// Whether an earlier injection answers this request.
pub(super) fn same_request(earlier: &Injection, spec: &Spec) -> Result<(), EngineError> {
    if earlier.spec == *spec { Ok(()) } else { Err(EngineError::IdTaken(earlier.id.clone())) }
}

fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| BootTime::now().nanos())
}
