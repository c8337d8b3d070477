//! From a spec to a fault that is there, or a plan of it.

use std::sync::Arc;

use chaos_common::{
    fault::Others,
    injection::Injection,
    spec::{InjectionId, Spec},
};

use super::{Engine, EngineError, Plan, aim::Aim, audit, world};
use crate::{
    boot_clock::BootTime,
    effect::Effect,
    fail_point::{FailPoint, reached},
    fault,
    policy::Protected,
    target::{self, Cgroup},
};

impl Engine {
    /// What `spec` would do, without doing it.
    ///
    /// # Errors
    /// As [`Engine::inject`].
    pub fn plan(&self, spec: &Spec) -> Result<Plan, EngineError> {
        let target = target::resolve(&self.root, &spec.target)?;
        let protected = self.policy.protected_around(&self.root, &target.path)?;
        let others = self.others(spec, &target, &protected)?;
        let world = self.world.lock();
        self.policy.check(spec, &target, &protected, world.live.len())?;
        let limits = fault::Limits {
            deadline: BootTime::NEVER,
            times: spec.times,
            seed: spec.seed.unwrap_or(0),
        };
        let effects = world.plan_fault(&spec.fault, &others, &limits)?;
        world.admit(&effects, &target)?;
        Ok(Plan { cgroup: target.path, effects: effects.iter().map(ToString::to_string).collect() })
    }

    /// Starts a fault. The same request under the same id returns the same injection.
    ///
    /// # Errors
    /// See [`EngineError`]; nothing is left on the node then.
    pub fn inject(
        self: &Arc<Self>,
        id: Option<InjectionId>,
        spec: Spec,
        who: &str,
    ) -> Result<Injection, EngineError> {
        let result = self.try_inject(id, &spec, who);
        match &result {
            Ok(injection) if injection.spec.fault.naming_filter().is_some() => Aim::follow(self),
            Ok(_) => {}
            Err(error) => {
                let reason = error.to_string();
                let action = audit::Action::Refuse { spec: &spec, reason: &reason };
                self.world.lock().audit(who, action);
            }
        }
        result
    }

    fn try_inject(
        &self,
        id: Option<InjectionId>,
        spec: &Spec,
        who: &str,
    ) -> Result<Injection, EngineError> {
        let id = id.unwrap_or_else(|| self.world.lock().fresh_id(spec));
        if let Some(earlier) = self.settled(&mut self.world.lock(), &id) {
            return world::same_request(&earlier, spec).map(|()| earlier);
        }
        let target = target::resolve(&self.root, &spec.target)?;
        let protected = self.policy.protected_around(&self.root, &target.path)?;
        let others = self.others(spec, &target, &protected)?;
        self.look_ahead(spec, &target, &protected, &others)?;
        let record = {
            let mut world = self.world.lock();
            // Somebody may have been quicker with the same id. The lock is held from here to the
            // reservation.
            if let Some(earlier) = self.settled(&mut world, &id) {
                return world::same_request(&earlier, spec).map(|()| earlier);
            }
            self.policy.check(spec, &target, &protected, world.live.len())?;
            let record = world.reserve(id.clone(), spec, target, others, who)?;
            // From now on there is a lease to keep, however long this takes.
            self.keeper.wake_by(world.next_due());
            record
        };
        reached(FailPoint::Reserved);
        let journalled = self.journal.as_ref().map_or(Ok(()), |journal| journal.write(&record));
        reached(FailPoint::Journalled);

        let mut world = self.world.lock();
        self.end_unpinned(&mut world);
        let result = match journalled {
            Ok(()) => world.activate(&id, self.journal.as_ref()),
            Err(error) => {
                // It may be there all the same, if only the flush failed.
                if let Some(Err(error)) = self.journal.as_ref().map(|journal| journal.remove(&id)) {
                    tracing::error!(injection = %id, %error, "a journal entry of nothing stays");
                }
                world.forget(&id);
                Err(error.into())
            }
        };
        self.settled.notify_all();
        // Also when it failed: what could not be undone is retried then.
        self.keeper.wake_by(world.next_due());
        let injection = match result {
            Ok(injection) => injection,
            Err(error) => {
                if let Some(stuck) = world.find(&id) {
                    let reason = &stuck.message;
                    world.audit(who, audit::Action::Stuck { id: &id, reason });
                    self.announce(&stuck);
                }
                return Err(error);
            }
        };
        reached(FailPoint::Active);
        let (cgroup, connections_reset) = (injection.cgroup.as_str(), injection.connections_reset);
        world.audit(who, audit::Action::Inject { id: &id, spec, cgroup, connections_reset });
        self.announce(&injection);
        Ok(injection)
    }

    /// Those whom a fault's filter names. Nobody is asked for what the policy will refuse.
    /// Does without the lock what may take its time.
    fn look_ahead(
        &self,
        spec: &Spec,
        target: &Cgroup,
        protected: &Protected,
        others: &Others,
    ) -> Result<(), EngineError> {
        let limits = fault::Limits { deadline: BootTime::NEVER, times: None, seed: 0 };
        let effects = {
            let world = self.world.lock();
            self.policy.check(spec, target, protected, world.live.len())?;
            world.plan_fault(&spec.fault, others, &limits)?
        };
        for effect in effects {
            if let Effect::HoldFiles(files) = effect {
                files.look(target, &self.root, self.journal.is_none())?;
            }
        }
        Ok(())
    }

    fn others(
        &self,
        spec: &Spec,
        target: &Cgroup,
        protected: &Protected,
    ) -> Result<Others, EngineError> {
        let Some(filter) = spec.fault.naming_filter() else { return Ok(Others::default()) };
        self.policy.check(spec, target, protected, self.live())?;
        Ok(self.seeker(target).others(filter)?)
    }
}
