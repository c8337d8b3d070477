//! Where what a target receives, attempts, or is told passes our programs: links on its cgroup.
//!
//! The kernel runs them for the cgroup and everything below, so of targets that lie within each other
//! only the topmost gets links; otherwise a packet would be judged once for each. When the topmost
//! changes, the old links go before the new ones come: in between, which is some 50 µs, packets of the
//! target pass unjudged, and none is ever judged twice.

use std::{collections::HashMap, fs::File};

use super::{
    KernelError, Pins, RuleId,
    claims::{Claims, Left},
    hook::{self, Hook},
    link::Place,
    object::{CgroupProgram, Object},
};
use crate::target::{self, Cgroup, CgroupRoot};

/// What of a cgroup passes our programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passing {
    /// What it receives.
    Received,
    /// Its attempts to connect, or to send to an address.
    Connecting,
    /// Its attempts to bind.
    Binding,
    /// What it is told of who is at the other end, until it closes a socket.
    Told,
}

impl Passing {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 4] = [Self::Received, Self::Connecting, Self::Binding, Self::Told];

    const fn programs(self) -> &'static [CgroupProgram] {
        use CgroupProgram::{
            Bind4, Bind6, Connect4, Connect6, Getpeername4, Getpeername6, Receive, Recvmsg4,
            Recvmsg6, Release, Sendmsg4, Sendmsg6,
        };
        match self {
            Self::Received => &[Receive],
            Self::Connecting => &[Connect4, Connect6, Sendmsg4, Sendmsg6],
            Self::Binding => &[Bind4, Bind6],
            Self::Told => &[Recvmsg4, Recvmsg6, Getpeername4, Getpeername6, Release],
        }
    }
}

/// Programs that are on the same cgroups.
pub(super) struct CgroupHooks {
    programs: &'static [CgroupProgram],
    root: CgroupRoot,
    pins: Option<Pins>,
    claims: Claims,
    /// By the id of the cgroup that they are on; one for each program.
    hooks: HashMap<u64, Vec<Hook>>,
    /// A topmost target may have no hooks.
    is_dirty: bool,
}

impl CgroupHooks {
    pub(super) fn new(passing: Passing, root: CgroupRoot, pins: Option<Pins>) -> Self {
        let (claims, hooks) = (Claims::default(), HashMap::new());
        Self { programs: passing.programs(), root, pins, claims, hooks, is_dirty: false }
    }

    /// Covers a target for a rule.
    pub(super) fn claim(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        self.claims.add(rule, target);
        if self.claims.top(target) != Some(target) || self.hooks.contains_key(&target.id) {
            return Ok(());
        }
        let below: Vec<u64> = self.claims.below(target).map(|below| below.id).collect();
        below.into_iter().map(|id| self.detach(id)).fold(Ok(()), Result::and)?;
        let attached = self.attach(target, object);
        // What lies within has no hook of its own any more.
        self.is_dirty |= attached.is_err();
        attached
    }

    /// Covers a target for a rule by the hooks that an earlier process left. Parents come first.
    pub(super) fn adopt(&mut self, rule: RuleId, target: &Cgroup) -> bool {
        self.claims.add(rule, target);
        let Some(top) = self.claims.top(target).map(|top| top.id) else { return false };
        if self.hooks.contains_key(&top) {
            return true;
        }
        let left = |id| {
            let adopt = |program: &CgroupProgram| {
                Hook::adopt(self.pins.as_ref(), &pin_name(*program, id), Place::Cgroup(id))
            };
            self.programs.iter().map(adopt).collect::<Option<Vec<_>>>()
        };
        if let Some(hooks) = left(top) {
            self.hooks.insert(top, hooks);
            return true;
        }
        // Or by one above, whose own injections are over: that goes with the sweep, and ours comes then.
        let above = target::ancestors(&target.path).into_iter();
        let mut above = above.filter_map(|path| self.root.look_up(&path).ok()?);
        let is_covered = above.any(|above| left(above.id).is_some());
        self.is_dirty |= is_covered;
        is_covered
    }

    /// A rule no longer needs its target covered.
    pub(super) fn release(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        if self.claims.remove(rule, target) == Left::Some {
            return Ok(());
        }
        self.detach(target.id)?;
        self.is_dirty |= self.claims.below(target).next().is_some();
        // Somebody else's cover is no reason to call this one stuck: it is tried again.
        if let Err(error) = self.refresh(object) {
            tracing::warn!(%error, "what another target receives, attempts or is told passes our programs by for now; tried again");
        }
        Ok(())
    }

    /// Attaches what could not be attached before.
    pub(super) fn refresh(&mut self, object: &mut Object) -> Result<(), KernelError> {
        if !self.is_dirty {
            return Ok(());
        }
        let is_bare = |target: &&Cgroup| {
            self.claims.top(target) == Some(*target) && !self.hooks.contains_key(&target.id)
        };
        let bare: Vec<Cgroup> = self.claims.targets().filter(is_bare).cloned().collect();
        let attached = bare.iter().map(|target| self.attach(target, object));
        let result = attached.fold(Ok(()), Result::and);
        self.is_dirty = result.is_err();
        result
    }

    /// Whether every pin is there.
    pub(super) fn has_pins(&self) -> bool {
        self.hooks.values().flatten().all(Hook::has_pin)
    }

    /// Whether a target is covered, or nothing of ours ever covered it.
    pub(super) fn covers(&self, target: &Cgroup) -> bool {
        let Some(top) = self.claims.top(target) else { return true };
        let is_there = |hook: &Hook| hook.is_at(Place::Cgroup(top.id));
        self.hooks.get(&top.id).is_none_or(|hooks| hooks.iter().all(is_there))
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        let sweep = |program: &CgroupProgram| {
            hook::sweep(self.pins.as_ref(), program.pin(), self.hooks.values().flatten())
        };
        self.programs.iter().map(sweep).fold(Ok(()), Result::and)
    }

    /// All programs, or none.
    fn attach(&mut self, target: &Cgroup, object: &mut Object) -> Result<(), KernelError> {
        let failed = |reason| KernelError::Hook {
            what: "attach to cgroup",
            place: target.path.to_string(),
            reason,
        };
        let dir =
            File::open(self.root.dir(&target.path)).map_err(|error| failed(error.to_string()))?;
        let mut hooks = Vec::with_capacity(self.programs.len());
        let mut attach = |program: &CgroupProgram| {
            let link = object.attach_to_cgroup(*program, &dir)?;
            Hook::keep(link, self.pins.as_ref(), pin_name(*program, target.id))
        };
        for program in self.programs {
            match attach(program) {
                Ok(hook) => hooks.push(hook),
                Err(reason) => {
                    let detached = hooks.iter().map(Hook::detach).fold(Ok(()), Result::and);
                    return detached.and(Err(failed(reason)));
                }
            }
        }
        self.hooks.insert(target.id, hooks);
        Ok(())
    }

    /// What could not be detached stays known.
    fn detach(&mut self, id: u64) -> Result<(), KernelError> {
        if let Some(hooks) = self.hooks.get(&id) {
            hooks.iter().map(Hook::detach).fold(Ok(()), Result::and)?;
            self.hooks.remove(&id);
        }
        Ok(())
    }
}

fn pin_name(program: CgroupProgram, cgroup: u64) -> String {
    format!("{}{cgroup}", program.pin())
}
