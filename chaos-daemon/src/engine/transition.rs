//! How an injection gets from one phase to the next: activated, renewed, ended. Each method leaves it in a
//! phase that somebody acts on.

use std::time::{Duration, SystemTime};

use chaos_common::{
    injection::{End, Injection, State},
    spec::InjectionId,
    value::Lifetime,
};

use super::{
    error::EngineError,
    injection::{Ending, Phase, Stuck},
    journal::Journal,
    record::Record,
    world::World,
};
use crate::{
    boot_clock::BootTime,
    effect::Owner,
    fail_point::{FailPoint, reached},
    target::TargetError,
};

/// How long a failed undo waits before it is tried again.
const RETRY: Duration = Duration::from_secs(5);

impl World {
    /// Applies a reserved injection's effects; on failure everything is undone.
    pub(super) fn activate(
        &mut self,
        id: &InjectionId,
        journal: Option<&Journal>,
    ) -> Result<Injection, EngineError> {
        let Some(live) = self.live.get(id) else { return Err(EngineError::Unknown(id.clone())) };
        // Its removal is heard from here on; before that nobody listened.
        if !self.target_is_there(&live.record) {
            let target = live.record.spec.target.clone();
            self.end(id, End::Failed.into(), journal);
            return Err(TargetError::NotFound { target }.into());
        }
        let (target, effects) = (live.record.target(), live.effects.clone());
        let owner = Owner { rule: live.record.rule, target: &target };
        let ready = self.kernel.restore_pins().and_then(|()| self.extend_lease());
        let applied = ready.and_then(|_| {
            effects.iter().try_for_each(|effect| {
                effect.apply(owner, &mut self.kernel)?;
                reached(effect.applied());
                Ok(())
            })
        });
        match applied {
            Ok(()) => {
                self.set_phase(id, Phase::Active);
                self.find(id).ok_or_else(|| EngineError::Unknown(id.clone()))
            }
            Err(error) => match self.end(id, End::Failed.into(), journal) {
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
        ending: Ending,
        journal: Option<&Journal>,
    ) -> Option<Injection> {
        let live = self.live.get(id)?;
        // The first reason stays, and so does what was counted until then.
        let (ending, mut counters) = match &live.phase {
            Phase::Stuck(stuck) => (stuck.ending, stuck.counters),
            Phase::Applying | Phase::Active | Phase::Renewing => {
                (ending, self.kernel.stats(live.record.rule))
            }
        };
        let (rule, target, effects) =
            (live.record.rule, live.record.target(), live.effects.clone());
        let mut failures = Vec::new();
        if let Err(error) = journal.map_or(Ok(()), |journal| journal.mark_recovering(id)) {
            // The effects matter more than the note.
            tracing::warn!(injection = %id, %error, "could not note that recovery began");
        }
        reached(FailPoint::RecoverBegun);
        let owner = Owner { rule, target: &target };
        for effect in &effects {
            match effect.undo(owner, &mut self.kernel) {
                Ok(counted) => {
                    counters = counted.unwrap_or(counters);
                    reached(effect.undone());
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        if failures.is_empty()
            && let Err(error) = journal.map_or(Ok(()), |journal| journal.remove(id))
        {
            failures.push(error.to_string());
        }
        if failures.is_empty() {
            reached(FailPoint::JournalRemoved);
            let mut injection = self.live.get(id)?.view(counters);
            injection.state = State::Ended(ending.why);
            injection.message = ending.reason.to_owned();
            injection.ended_at = Some(SystemTime::now());
            self.forget(id);
            // One that never began is no answer to the same request made again.
            if ending.why != End::Failed {
                self.remember(injection.clone());
            }
            Some(injection)
        } else {
            let message = format!("undo failed and is retried: {}", failures.join("; "));
            tracing::error!(injection = %id, message);
            let retry = BootTime::now().after(RETRY);
            self.set_phase(id, Phase::Stuck(Stuck { ending, retry, message, counters }));
            Some(self.live.get(id)?.view(counters))
        }
    }

    /// Moves a deadline in the kernel, and says what to journal: before, and from now on. Nobody else
    /// touches the injection until [`World::end_renewal`] or [`World::undo_renewal`].
    pub(super) fn begin_renewal(
        &mut self,
        id: &InjectionId,
        duration: Lifetime,
    ) -> Result<(Record, Record), EngineError> {
        let before = self.active(id)?.record.clone();
        let mut after = before.clone();
        after.deadline = BootTime::now().after(duration.get());
        if let Err(error) = self.apply(&after) {
            self.undo_renewal(&before);
            return Err(error);
        }
        self.set_phase(id, Phase::Renewing);
        Ok((before, after))
    }

    /// The journal has what the kernel has.
    pub(super) fn end_renewal(&mut self, after: Record) -> Result<Injection, EngineError> {
        let id = after.id.clone();
        self.set_phase(&id, Phase::Active);
        let Some(live) = self.live.get(&id) else { return Err(EngineError::Unknown(id)) };
        let renewed = live.renewed(after.clone(), self.plan(&after)?);
        let injection = self.view(&renewed);
        self.replace(renewed);
        Ok(injection)
    }

    /// The deadline is the old one again. What the kernel has is bounded by our own clock in any case.
    pub(super) fn undo_renewal(&mut self, before: &Record) {
        if let Err(error) = self.apply(before) {
            tracing::error!(injection = %before.id, %error, "the old deadline is not in the kernel again; the daemon keeps to it");
        }
        self.set_phase(&before.id, Phase::Active);
    }

    /// Applies what a record says, in place of what is there.
    fn apply(&mut self, record: &Record) -> Result<(), EngineError> {
        let target = record.target();
        let owner = Owner { rule: record.rule, target: &target };
        for effect in self.plan(record)? {
            effect.apply(owner, &mut self.kernel)?;
        }
        Ok(())
    }
}
