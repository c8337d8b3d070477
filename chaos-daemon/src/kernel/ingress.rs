//! Where what a target receives passes our program: a link on its cgroup.
//!
//! The kernel runs it for the cgroup and everything below, so of targets that lie within each other
//! only the topmost gets a link; otherwise a packet would be judged once for each. When the topmost
//! changes, the old links go before the new ones come: in between, which is some 50 µs, packets of the
//! target pass unjudged, and none is ever judged twice.

use std::{collections::HashMap, fs::File};

use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, links::FdLink};

use super::{
    KernelError, Pins, RuleId,
    claims::{Claims, Left},
    error::innermost,
    hook::{self, Hook},
    link::Place,
    object::Object,
};
use crate::target::{self, Cgroup, CgroupRoot};

const PIN: &str = "in-";

pub(super) struct Ingress {
    root: CgroupRoot,
    pins: Option<Pins>,
    claims: Claims,
    /// By the id of the cgroup that they are on.
    hooks: HashMap<u64, Hook>,
    /// A topmost target may have no hook.
    is_dirty: bool,
}

impl Ingress {
    pub(super) fn new(root: CgroupRoot, pins: Option<Pins>) -> Self {
        let (claims, hooks) = (Claims::default(), HashMap::new());
        Self { root, pins, claims, hooks, is_dirty: false }
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

    /// Covers a target for a rule by the hook that an earlier process left. Parents come first.
    pub(super) fn adopt(&mut self, rule: RuleId, target: &Cgroup) -> bool {
        self.claims.add(rule, target);
        let Some(top) = self.claims.top(target).map(|top| top.id) else { return false };
        if self.hooks.contains_key(&top) {
            return true;
        }
        let left = |id| Hook::adopt(self.pins.as_ref(), &pin_name(id), Place::Cgroup(id));
        if let Some(hook) = left(top) {
            self.hooks.insert(top, hook);
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
            tracing::warn!(%error, "incoming packets of another target pass unjudged for now; tried again");
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
        self.hooks.values().all(Hook::has_pin)
    }

    /// Whether a target is covered, or nothing of ours ever covered it.
    pub(super) fn covers(&self, target: &Cgroup) -> bool {
        let Some(top) = self.claims.top(target) else { return true };
        self.hooks.get(&top.id).is_none_or(|hook| hook.is_at(Place::Cgroup(top.id)))
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        hook::sweep(self.pins.as_ref(), PIN, self.hooks.values())
    }

    fn attach(&mut self, target: &Cgroup, object: &mut Object) -> Result<(), KernelError> {
        let failed = |reason| KernelError::Hook {
            what: "attach to cgroup",
            place: target.path.to_string(),
            reason,
        };
        let dir =
            File::open(self.root.dir(&target.path)).map_err(|error| failed(error.to_string()))?;
        let program = object.ingress()?;
        let link = program
            .attach(dir, CgroupSkbAttachType::Ingress, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .map_err(|error| failed(innermost(&error)))?;
        let link: FdLink = link
            .try_into()
            .map_err(|error: aya::programs::links::LinkError| failed(innermost(&error)))?;
        let hook = Hook::keep(link, self.pins.as_ref(), pin_name(target.id)).map_err(failed)?;
        self.hooks.insert(target.id, hook);
        Ok(())
    }

    /// What could not be detached stays known.
    fn detach(&mut self, id: u64) -> Result<(), KernelError> {
        if let Some(hook) = self.hooks.get(&id) {
            hook.detach()?;
            self.hooks.remove(&id);
        }
        Ok(())
    }
}

fn pin_name(cgroup: u64) -> String {
    format!("{PIN}{cgroup}")
}
