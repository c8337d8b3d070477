//! The engine `call` in the kernel: loaded when the first fault needs it, since few nodes ever do.

mod glob;
mod hooks;
mod layout;
mod object;
mod operations;
mod prefilters;
mod rule_spec;
mod rules;
mod signatures;
mod support;

pub use hooks::Calls;
pub use rule_spec::CallSpec;
pub use support::{CallSupport, Found, SyscallTier};

pub(crate) use operations::Hook;
pub(crate) use signatures::signature;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use chaos_common::abi::RuleStats;

use aya::maps::Map;

use super::{
    Event, KernelError, Lease, Pins, RuleId, btf::Btf, events::Ring, files, tables::typed,
};
use crate::{boot_clock::BootTime, target::Cgroup};

/// How the names of all its pins begin.
const PINS: &str = "call-";

/// The engine, loaded or not.
pub(super) struct CallEngine {
    pins: Option<Pins>,
    support: CallSupport,
    loaded: Option<Loaded>,
}

struct Loaded {
    object: object::Object,
    rules: rules::Rules,
    hooks: hooks::Hooks,
    events: Ring,
    /// The tables that holders of files read: which calls wait, and the lease.
    held: [OwnedFd; 2],
}

impl CallEngine {
    pub(super) fn new(pins: Option<Pins>, support: CallSupport) -> Self {
        Self { pins, support, loaded: None }
    }

    fn load(&mut self, lease: &Lease) -> Result<&mut Loaded, KernelError> {
        if self.loaded.is_none() {
            let types = Btf::of_kernel();
            let types = types
                .parse()
                .ok_or(KernelError::NoTypes { structure: "task_struct", member: "fs" })?;
            let layout = layout::look_up(&types)?;
            let generation = self.support.get().generation();
            let mut object = object::Object::load(self.pins.as_ref(), &layout, generation)?;
            let (held, lease_table) = (object.take_map("HELD_CALLS")?, object.take_map("LEASE")?);
            let loaded = Loaded {
                held: [handle(&held)?, handle(&lease_table)?],
                rules: rules::Rules::take(&mut object, held)?,
                hooks: hooks::Hooks::new(self.pins.clone()),
                events: Ring::take(object.take_map("CALL_EVENTS")?)?,
                object,
            };
            lease.keep_in(typed(lease_table)?)?;
            self.loaded = Some(loaded);
        }
        self.loaded.as_mut().ok_or(KernelError::Missing("calls"))
    }

    /// See [`super::Kernel::put_call_rule`].
    pub(super) fn put(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        spec: &CallSpec,
        lease: &Lease,
    ) -> Result<(), KernelError> {
        self.load(lease)?.rules.put(id, target, spec)
    }

    /// See [`super::Kernel::adopt_call_rule`].
    pub(super) fn adopt(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        spec: &CallSpec,
        lease: &Lease,
    ) -> Result<bool, KernelError> {
        Ok(self.load(lease)?.rules.adopt(id, target, spec))
    }

    /// What a holder of files reads; there with the first rule.
    pub(super) fn held_tables(&self) -> Result<files::Tables<'_>, KernelError> {
        let loaded =
            self.loaded.as_ref().ok_or(KernelError::Missing("table of calls that wait"))?;
        let [calls, lease] = &loaded.held;
        Ok(files::Tables { calls: calls.as_fd(), lease: lease.as_fd() })
    }

    /// Says what the rule saw in its life, if it was there; also one that an earlier process put and nobody took over.
    pub(super) fn remove(
        &mut self,
        id: RuleId,
        lease: &Lease,
    ) -> Result<Option<RuleStats>, KernelError> {
        let is_left = || self.pins.as_ref().is_some_and(|pins| !pins.names(PINS).is_empty());
        if self.loaded.is_none() && !is_left() {
            return Ok(None);
        }
        match self.load(lease) {
            Ok(loaded) => loaded.rules.remove(id),
            Err(error) => {
                // Then nothing of it is asked any more, and a sweep removes it.
                tracing::warn!(%error, "what an ended fault of calls saw is lost");
                Ok(None)
            }
        }
    }

    /// Of what an earlier process put nobody knows before the engine is loaded; taking it over tells.
    pub(super) fn has(&self, id: RuleId) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| loaded.rules.has(id))
    }

    pub(super) fn stats(&self, id: RuleId) -> Option<RuleStats> {
        self.loaded.as_ref()?.rules.stats(id)
    }

    pub(super) fn admit(&self, target: &Cgroup, spec: &CallSpec) -> Result<(), KernelError> {
        spec.check()?;
        self.loaded.as_ref().map_or(Ok(()), |loaded| loaded.rules.admit(target))
    }

    /// See [`super::Kernel::claim_calls`].
    pub(super) fn claim(
        &mut self,
        rule: RuleId,
        calls: &Calls,
        lease: &Lease,
    ) -> Result<(), KernelError> {
        let support = self.support.clone();
        let Loaded { hooks, object, .. } = self.load(lease)?;
        hooks.claim(rule, calls, object, support.get())
    }

    /// See [`super::Kernel::adopt_calls`].
    pub(super) fn adopt_hooks(
        &mut self,
        rule: RuleId,
        calls: &Calls,
        lease: &Lease,
    ) -> Result<bool, KernelError> {
        let support = self.support.clone();
        Ok(self.load(lease)?.hooks.adopt(rule, calls, support.get()))
    }

    pub(super) fn release(&mut self, rule: RuleId) -> Result<(), KernelError> {
        self.loaded.as_mut().map_or(Ok(()), |loaded| loaded.hooks.release(rule))
    }

    /// When [`Self::let_go`] is due.
    pub(super) fn going_due(&self) -> BootTime {
        self.loaded.as_ref().map_or(BootTime::NEVER, |loaded| loaded.hooks.going_due())
    }

    /// Detaches what has not been needed for a while.
    pub(super) fn let_go(&mut self) {
        if let Some(loaded) = &mut self.loaded {
            loaded.hooks.let_go();
        }
    }

    pub(super) fn covers(&self, rule: RuleId) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| loaded.hooks.covers(rule))
    }

    pub(super) fn sweep_rules(&mut self) -> Result<(), KernelError> {
        self.loaded.as_mut().map_or(Ok(()), |loaded| loaded.rules.sweep())
    }

    /// Detaches what an earlier process left and nobody claimed since.
    pub(super) fn sweep_hooks(&mut self) -> Result<(), KernelError> {
        match (&mut self.loaded, &self.pins) {
            (Some(loaded), _) => loaded.hooks.sweep(),
            // Nobody took anything over, so nobody needs any of it.
            (None, Some(pins)) => {
                let names = pins.names(PINS);
                names.iter().map(|name| pins.unpin(name)).fold(Ok(()), Result::and)
            }
            (None, None) => Ok(()),
        }
    }

    pub(super) fn has_pins(&self) -> bool {
        let (Some(loaded), Some(pins)) = (&self.loaded, &self.pins) else { return true };
        loaded.object.has_pins(pins) && loaded.hooks.has_pins()
    }

    pub(super) fn restore_pins(&self) -> Result<(), KernelError> {
        match (&self.loaded, &self.pins) {
            (Some(loaded), Some(pins)) => loaded.object.restore_pins(pins),
            _ => Ok(()),
        }
    }

    pub(super) fn event_watch(&self) -> Option<BorrowedFd<'_>> {
        self.loaded.as_ref().map(|loaded| loaded.events.watch())
    }

    pub(super) fn take_events(&mut self, each: impl FnMut(Event)) {
        if let Some(loaded) = &mut self.loaded {
            loaded.events.take_calls(each);
        }
    }
}

/// A second handle of a map.
fn handle(map: &Map) -> Result<OwnedFd, KernelError> {
    let handle = object::descriptor(map).and_then(|handle| handle.try_clone_to_owned().ok());
    handle.ok_or(KernelError::Missing("handle of one of its maps"))
}
