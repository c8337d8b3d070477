//! Where what a target receives passes our program: a link on its cgroup.
//!
//! The kernel runs it for the cgroup and everything below, so of targets that lie within each other
//! only the topmost gets a link; otherwise a packet would be judged once for each.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
};

use aya::programs::{
    CgroupAttachMode, CgroupSkbAttachType,
    links::{FdLink, PinnedLink},
};

use super::{KernelError, Pins, RuleId, clsact::innermost, object::Object};
use crate::target::{Cgroup, CgroupRoot};

const PIN: &str = "in-";

pub(super) struct Ingress {
    root: CgroupRoot,
    pins: Option<Pins>,
    /// By path, so that what lies within a cgroup follows it.
    claims: BTreeMap<String, Claim>,
}

struct Claim {
    target: Cgroup,
    rules: HashSet<RuleId>,
    hook: Option<Hook>,
}

enum Hook {
    /// Ends with this value.
    Link { _link: FdLink },
    /// Ends with the pin of this name.
    Pin(String),
}

impl Ingress {
    pub(super) fn new(root: CgroupRoot, pins: Option<Pins>) -> Self {
        Self { root, pins, claims: BTreeMap::new() }
    }

    /// Covers a target for a rule.
    pub(super) fn claim(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        let key = key(target);
        if self.claims.get(&key).is_some_and(|claim| claim.target.id != target.id) {
            // Another cgroup under the name of one that was removed: the old one's hook is dead.
            if let Some(hook) = self.claims.remove(&key).and_then(|claim| claim.hook) {
                detach(hook, self.pins.as_ref())?;
            }
        }
        let claim = self.claims.entry(key.clone()).or_insert_with(|| Claim {
            target: target.clone(),
            rules: HashSet::new(),
            hook: None,
        });
        claim.rules.insert(rule);
        if claim.hook.is_none() && !self.is_covered(&key) {
            self.attach(&key, object)?;
            self.detach_below(&key)?;
        }
        Ok(())
    }

    /// A rule no longer needs its target covered.
    pub(super) fn release(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        object: &mut Object,
    ) -> Result<(), KernelError> {
        let key = key(target);
        let Some(claim) = self.claims.get_mut(&key) else { return Ok(()) };
        if claim.target.id != target.id {
            return Ok(());
        }
        claim.rules.remove(&rule);
        if !claim.rules.is_empty() {
            return Ok(());
        }
        if let Some(hook) = claim.hook.take() {
            // What lies within gets its own link first, so that none of it goes uncovered.
            let attached = self.attach_below(&key, object);
            detach(hook, self.pins.as_ref())?;
            attached?;
        }
        self.claims.remove(&key);
        Ok(())
    }

    /// Whether every hook is where it was put: somebody may have removed the pins by hand.
    pub(super) fn is_intact(&self) -> bool {
        let Some(pins) = &self.pins else { return true };
        self.claims.values().all(|claim| match &claim.hook {
            Some(Hook::Pin(name)) => pins.has(name),
            Some(Hook::Link { .. }) | None => true,
        })
    }

    /// Removes what an earlier process left attached and nobody claimed since.
    pub(super) fn sweep(&mut self) -> Result<(), KernelError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        for name in pins.names(PIN) {
            let is_ours = self
                .claims
                .values()
                .any(|claim| matches!(&claim.hook, Some(Hook::Pin(pin)) if *pin == name));
            if !is_ours {
                pins.unpin(&name)?;
            }
        }
        Ok(())
    }

    fn is_covered(&self, key: &str) -> bool {
        let mut above = key;
        while let Some(end) = above.rfind('/') {
            above = &above[..end];
            if self.claims.get(above).is_some_and(|claim| claim.hook.is_some()) {
                return true;
            }
        }
        false
    }

    fn keys_below(&self, key: &str) -> Vec<String> {
        let start = format!("{key}/");
        let below = self.claims.range(start.clone()..).map(|(key, _)| key);
        below.take_while(|key| key.starts_with(&start)).cloned().collect()
    }

    fn detach_below(&mut self, key: &str) -> Result<(), KernelError> {
        for below in self.keys_below(key) {
            if let Some(hook) = self.claims.get_mut(&below).and_then(|claim| claim.hook.take()) {
                detach(hook, self.pins.as_ref())?;
            }
        }
        Ok(())
    }

    fn attach_below(&mut self, key: &str, object: &mut Object) -> Result<(), KernelError> {
        let mut result = Ok(());
        // In order of paths, so a parent comes before what it covers.
        for below in self.keys_below(key) {
            if !self.is_covered(&below) {
                result = result.and(self.attach(&below, object));
            }
        }
        result
    }

    fn attach(&mut self, key: &str, object: &mut Object) -> Result<(), KernelError> {
        let Some(claim) = self.claims.get_mut(key) else { return Ok(()) };
        let failed = |reason| KernelError::Hook {
            what: "attach to cgroup",
            place: claim.target.path.to_string(),
            reason,
        };
        let dir = File::open(self.root.dir(&claim.target.path))
            .map_err(|error| failed(error.to_string()))?;
        let program = object.ingress()?;
        let link = program
            .attach(dir, CgroupSkbAttachType::Ingress, CgroupAttachMode::Single)
            .and_then(|id| program.take_link(id))
            .map_err(|error| failed(innermost(&error)))?;
        let link: FdLink = link
            .try_into()
            .map_err(|error: aya::programs::links::LinkError| failed(innermost(&error)))?;
        let hook = match &self.pins {
            None => Hook::Link { _link: link },
            Some(pins) => {
                let name = format!("{PIN}{}", claim.target.id);
                pins.unpin(&name)?;
                let _: PinnedLink =
                    link.pin(pins.path(&name)).map_err(|error| failed(innermost(&error)))?;
                Hook::Pin(name)
            }
        };
        claim.hook = Some(hook);
        Ok(())
    }
}

/// The root's key is empty, so that every other key begins with it and a slash.
fn key(target: &Cgroup) -> String {
    target.path.as_str().trim_end_matches('/').to_owned()
}

fn detach(hook: Hook, pins: Option<&Pins>) -> Result<(), KernelError> {
    match (hook, pins) {
        (Hook::Pin(name), Some(pins)) => pins.unpin(&name),
        (Hook::Link { .. } | Hook::Pin(_), _) => Ok(()),
    }
}
