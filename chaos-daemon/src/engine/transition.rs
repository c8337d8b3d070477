//! How an injection gets from one phase to the next: activated, renewed, ended. Each method leaves it in a
//! phase that somebody acts on.

use std::time::{Duration, SystemTime};

use chaos_common::{
    injection::{End, Injection, State},
    spec::InjectionId,
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
            return Err(self.fail(id, TargetError::NotFound { target }.into(), journal));
        }
        let (target, effects) = (live.record.target(), live.effects.clone());
        let owner = Owner { rule: live.record.rule, target: &target };
        let ready = self.kernel.restore_pins().and_then(|()| self.kernel.lease().extend());
        let applied = ready.and_then(|_| {
            effects.iter().try_fold(None, |reset, effect| {
                let done = effect.apply(owner, &mut self.kernel)?;
                reached(effect.applied());
                Ok(done.or(reset))
            })
        });
        match applied {
            Ok(reset) => {
                if let Some(live) = self.live.get_mut(id) {
                    live.connections_reset = reset;
                }
                self.set_phase(id, Phase::Active);
                self.find(id).ok_or_else(|| EngineError::Unknown(id.clone()))
            }
            Err(error) => {
                let error = self.refusal(error);
                Err(self.fail(id, error, journal))
            }
        }
    }

    /// Undoes what was applied of an injection that does not come to life. Returns what to say of it.
    fn fail(
        &mut self,
        id: &InjectionId,
        source: EngineError,
        journal: Option<&Journal>,
    ) -> EngineError {
        match self.end(id, End::Failed.into(), journal) {
            Some(Injection { state: State::Stuck(_), message: undo, .. }) => {
                EngineError::HalfDone { id: id.clone(), source: Box::new(source), undo }
            }
            Some(_) | None => source,
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
                    if let Some(step) = effect.undone() {
                        reached(step);
                    }
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

    /// Begins to change an injection, and says what the journal is to have instead of what. Nobody else touches
    /// the injection until [`World::end_change`] or [`World::undo_change`].
    ///
    /// Of the kernel and the journal, the one that ends the fault sooner is always first: whatever becomes of
    /// this process, no fault goes on for longer than was promised.
    pub(super) fn begin_change(
        &mut self,
        id: &InjectionId,
        change: impl FnOnce(&mut Record),
    ) -> Result<(Record, Record), EngineError> {
        let before = self.active(id)?.record.clone();
        let mut after = before.clone();
        change(&mut after);
        if after.deadline < before.deadline {
            self.renew_effects(&after)?;
        }
        self.set_phase(id, Phase::Renewing);
        Ok((before, after))
    }

    /// The journal has the change.
    pub(super) fn end_change(&mut self, after: Record) -> Result<Injection, EngineError> {
        let id = after.id.clone();
        self.set_phase(&id, Phase::Active);
        self.renew_effects(&after)?;
        let Some(live) = self.live.get(&id) else { return Err(EngineError::Unknown(id)) };
        let renewed = live.renewed(after.clone(), self.plan(&after)?);
        let injection = self.view(&renewed);
        self.replace(renewed);
        Ok(injection)
    }

    /// Everything is as it was.
    pub(super) fn undo_change(&mut self, before: &Record) {
        if let Err(error) = self.renew_effects(before) {
            tracing::error!(injection = %before.id, %error, "the old deadline is not in the kernel again; the fault ends sooner");
        }
        self.set_phase(&before.id, Phase::Active);
    }

    fn renew_effects(&mut self, record: &Record) -> Result<(), EngineError> {
        let target = record.target();
        let owner = Owner { rule: record.rule, target: &target };
        for effect in self.plan(record)? {
            effect.renew(owner, &mut self.kernel)?;
        }
        Ok(())
    }
}
