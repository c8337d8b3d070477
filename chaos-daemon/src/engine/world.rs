//! The engine's memory: what is live, what has ended, and the kernel. One lock guards it all.

use std::{
    collections::{BTreeSet, HashMap, VecDeque, vec_deque},
    time::{Duration, SystemTime},
};

use chaos_common::{
    injection::{End, Injection, State},
    spec::{InjectionId, Spec},
    value::Lifetime,
};

use super::{
    audit::{Action, Audit},
    cgroup_watch::CgroupWatch,
    error::EngineError,
    failpoint,
    injection::{Live, Phase},
    journal::Journal,
    record::{Record, now_ms},
};
use crate::{
    boot_clock::BootTime,
    effect::Owner,
    fault::{self, Limits},
    kernel::{Kernel, KernelError, RuleId},
    target::{Cgroup, CgroupRoot, TargetError},
};

/// Ended injections that are remembered.
const REMEMBERED: usize = 1024;
/// How long a failed undo waits before it is tried again.
const RETRY: Duration = Duration::from_secs(5);

pub(super) struct World {
    pub(super) root: CgroupRoot,
    pub(super) kernel: Kernel,
    pub(super) cgroups: CgroupWatch,
    pub(super) live: HashMap<InjectionId, Live>,
    pub(super) by_rule: HashMap<RuleId, InjectionId>,
    pub(super) lease: Duration,
    pub(super) lease_until: BootTime,
    pub(super) closing: bool,
    pub(super) boot_id: String,
    pub(super) next_rule: u32,
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
        lease: Duration,
        boot_id: String,
    ) -> Self {
        Self {
            root,
            kernel,
            cgroups,
            live: HashMap::new(),
            by_rule: HashMap::new(),
            lease,
            lease_until: BootTime::ZERO,
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
            rule: RuleId(self.next_rule),
            boot_id: self.boot_id.clone(),
            deadline: BootTime::now().after(spec.duration.get()),
            created_at_ms: now_ms(),
            requested_by: who.to_owned(),
        };
        self.insert(record.clone(), Phase::Applying)?;
        Ok(record)
    }

    /// Puts a record into memory, with its effects.
    pub(super) fn insert(&mut self, record: Record, phase: Phase) -> Result<(), EngineError> {
        if self.live.contains_key(&record.id) {
            return Err(EngineError::IdTaken(record.id));
        }
        let limits =
            Limits { deadline: record.deadline, times: record.spec.times, seed: record.seed };
        let effects = fault::plan(&record.spec.fault, &limits, self.kernel.support())?;
        self.next_rule = self.next_rule.max(record.rule.0.saturating_add(1));
        let order = self.next_order;
        self.next_order += 1;
        self.cgroups.add(&self.root.dir(&record.cgroup));
        self.by_rule.insert(record.rule, record.id.clone());
        let live = Live { record, effects, phase, message: String::new(), order };
        self.due.insert((live.due(), live.record.id.clone()));
        self.live.insert(live.record.id.clone(), live);
        Ok(())
    }

    /// Takes an injection out of memory, of which nothing is on the node.
    pub(super) fn forget(&mut self, id: &InjectionId) {
        if let Some(live) = self.live.remove(id) {
            self.due.remove(&(live.due(), id.clone()));
            self.by_rule.remove(&live.record.rule);
            self.cgroups.remove(&self.root.dir(&live.record.cgroup));
        }
    }

    /// Applies a reserved injection's effects; on failure everything is undone.
    pub(super) fn activate(
        &mut self,
        id: &InjectionId,
        journal: Option<&Journal>,
    ) -> Result<Injection, EngineError> {
        let Some(live) = self.live.get(id) else { return Err(EngineError::Unknown(id.clone())) };
        let (record, effects) = (live.record.clone(), live.effects.clone());
        let target = record.target();
        let owner = Owner { rule: record.rule, target: &target };
        // Its removal is heard from here on; before that nobody listened.
        if !matches!(self.root.look_up(&record.cgroup), Ok(Some(now)) if now.id == record.cgroup_id)
        {
            self.end(id, End::Failed, journal);
            return Err(TargetError::NotFound { target: record.spec.target }.into());
        }
        let applied = self.extend_lease().and_then(|_| {
            effects.iter().try_for_each(|effect| {
                effect.apply(owner, &mut self.kernel)?;
                failpoint::reached(effect.applied_step());
                Ok(())
            })
        });
        match applied {
            Ok(()) => {
                self.set_phase(id, Phase::Active);
                self.find(id).ok_or_else(|| EngineError::Unknown(id.clone()))
            }
            Err(error) => match self.end(id, End::Failed, journal) {
                Some(Injection { state: State::Stuck(_), message, .. }) => {
                    Err(EngineError::HalfDone {
                        id: id.clone(),
                        source: Box::new(error),
                        undo: message,
                    })
                }
                Some(_) | None => Err(error.into()),
            },
        }
    }

    /// Undoes an injection's effects. Returns it as it is then: ended, or stuck.
    pub(super) fn end(
        &mut self,
        id: &InjectionId,
        why: End,
        journal: Option<&Journal>,
    ) -> Option<Injection> {
        let live = self.live.get(id)?;
        // The first reason stays.
        let why = if let Phase::Stuck(first, _) = live.phase { first } else { why };
        let (record, effects) = (live.record.clone(), live.effects.clone());
        let mut failures = Vec::new();
        if let Err(error) = journal.map_or(Ok(()), |journal| journal.mark_recovering(id)) {
            // The effects matter more than the note.
            tracing::warn!(injection = %id, %error, "could not note that recovery began");
        }
        failpoint::reached("recover-begun");
        let counters = self.kernel.stats(record.rule);
        let target = record.target();
        let owner = Owner { rule: record.rule, target: &target };
        for effect in &effects {
            match effect.undo(owner, &mut self.kernel) {
                Ok(()) => failpoint::reached(effect.undone_step()),
                Err(error) => failures.push(error.to_string()),
            }
        }
        if failures.is_empty()
            && let Err(error) = journal.map_or(Ok(()), |journal| journal.remove(id))
        {
            failures.push(error.to_string());
        }
        if failures.is_empty() {
            failpoint::reached("journal-removed");
            let mut injection = self.live.get(id)?.view(State::Ended(why), counters);
            injection.ended_at = Some(SystemTime::now());
            self.forget(id);
            // One that never began is no answer to the same request made again.
            if why != End::Failed {
                self.remember(injection.clone());
            }
            Some(injection)
        } else {
            let message = format!("undo failed and is retried: {}", failures.join("; "));
            tracing::error!(injection = %id, message);
            self.set_phase(id, Phase::Stuck(why, BootTime::now().after(RETRY)));
            let live = self.live.get_mut(id)?;
            live.message = message;
            Some(live.view(live.state(), counters))
        }
    }

    /// Moves a deadline: first on disk, so that a daemon that adopts the rule knows it.
    pub(super) fn renew(
        &mut self,
        id: &InjectionId,
        duration: Lifetime,
        journal: Option<&Journal>,
    ) -> Result<Injection, EngineError> {
        let mut live = self.active(id)?.clone();
        live.record.deadline = BootTime::now().after(duration.get());
        let limits = Limits {
            deadline: live.record.deadline,
            times: live.record.spec.times,
            seed: live.record.seed,
        };
        live.effects = fault::plan(&live.record.spec.fault, &limits, self.kernel.support())?;
        if let Some(journal) = journal {
            journal.write(&live.record)?;
        }
        let target = live.record.target();
        let owner = Owner { rule: live.record.rule, target: &target };
        for effect in &live.effects {
            effect.apply(owner, &mut self.kernel)?;
        }
        if let Some(old) = self.live.get(id) {
            self.due.remove(&(old.due(), id.clone()));
        }
        self.due.insert((live.due(), id.clone()));
        let injection = self.view(&live);
        self.live.insert(id.clone(), live);
        Ok(injection)
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

    /// Says to the kernel that we are alive, if it would soon doubt it. Returns whether it was time to.
    pub(super) fn extend_lease(&mut self) -> Result<bool, KernelError> {
        let now = BootTime::now();
        if self.lease_until < now.after(self.lease * 2 / 3) {
            let until = now.after(self.lease);
            self.kernel.set_lease(until)?;
            self.lease_until = until;
            return Ok(true);
        }
        Ok(false)
    }

    /// When the keeper has to act next: the lease while anything is live, or a deadline.
    pub(super) fn next_due(&self) -> BootTime {
        let Some((due, _)) = self.due.first() else { return BootTime::NEVER };
        let renewal = BootTime::from_nanos(
            self.lease_until.nanos().saturating_sub((self.lease * 2 / 3).as_nanos() as u64),
        );
        renewal.min(*due)
    }

    /// Injections whose deadline or retry has come, with the reason to end them.
    pub(super) fn due(&self) -> Vec<(InjectionId, End)> {
        let now = BootTime::now();
        let due = self.due.iter().take_while(|(due, _)| *due <= now);
        due.map(|(_, id)| (id.clone(), End::Expired)).collect()
    }

    /// One injection as it is now, if it is remembered.
    pub(super) fn find(&self, id: &InjectionId) -> Option<Injection> {
        match self.live.get(id) {
            Some(live) => Some(self.view(live)),
            None => self.ended.iter().rev().find(|ended| ended.id == *id).cloned(),
        }
    }

    pub(super) fn view(&self, live: &Live) -> Injection {
        live.view(live.state(), self.kernel.stats(live.record.rule))
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = &Live> {
        let mut live: Vec<&Live> = self.live.values().collect();
        live.sort_unstable_by_key(|live| live.order);
        live.into_iter()
    }

    /// Ids of all that is live and not just being applied, oldest first.
    pub(super) fn ids(&self) -> Vec<InjectionId> {
        let settled = self.in_order().filter(|live| live.phase != Phase::Applying);
        settled.map(|live| live.record.id.clone()).collect()
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

/// A name for an injection whose client gave none.
pub(super) fn fresh_id(spec: &Spec) -> InjectionId {
    let (family, kind) = spec.fault.kind().words();
    let name = format!("{family}-{kind}-{:08x}", random() as u32);
    // Made of nothing but what an id may hold.
    name.parse().unwrap_or_else(|_| unreachable!("{name} is an id"))
}

fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| BootTime::now().nanos())
}
