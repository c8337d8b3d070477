//! What effects do, undo, take over and look for: each by the part of this module that owns it.

use chaos_common::{abi::RuleStats, fault::NetworkOccupy};

use super::{
    CallSpec, Calls, HeldFiles, Kernel, KernelError, Lease, Need, Passing, RuleId, RuleSpec,
    Wanted, connections, layout::Part,
};
use crate::target::Cgroup;

impl Kernel {
    /// Makes a rule exist. The same rule again replaces it in one step.
    ///
    /// # Errors
    /// When the target is full or the kernel refuses.
    pub fn put_rule(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        rule: &RuleSpec,
    ) -> Result<(), KernelError> {
        for part in rule.about.parts() {
            self.layout.need(part)?;
        }
        self.rules.put(id, target, rule)
    }

    /// Makes a rule not exist. Returns all that it saw, if it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_rule(&mut self, id: RuleId) -> Result<Option<RuleStats>, KernelError> {
        self.rules.remove(id)
    }

    /// Makes a rule about calls exist. The same rule again replaces it in one step.
    ///
    /// # Errors
    /// When the target is full or the kernel refuses.
    pub fn put_call_rule(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        rule: &CallSpec,
    ) -> Result<(), KernelError> {
        self.calls.put(id, target, rule, &self.lease)
    }

    /// Makes a rule about calls not exist. Returns all that it saw, if it was there.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_call_rule(&mut self, id: RuleId) -> Result<Option<RuleStats>, KernelError> {
        self.calls.remove(id, &self.lease)
    }

    /// Takes a rule about calls that is in the kernel already for that of a target. False when it is not there.
    ///
    /// # Errors
    /// When the engine cannot be loaded.
    pub fn adopt_call_rule(
        &mut self,
        id: RuleId,
        target: &Cgroup,
        rule: &CallSpec,
    ) -> Result<bool, KernelError> {
        self.calls.adopt(id, target, rule, &self.lease)
    }

    /// As [`Kernel::has_rule`], of a rule about calls.
    #[must_use]
    pub fn has_call_rule(&self, id: RuleId) -> bool {
        self.calls.has(id)
    }

    /// Whether there is room for another rule about calls of a target.
    ///
    /// # Errors
    /// When there is none, or its patterns are too many.
    pub fn admit_calls(&self, target: &Cgroup, rule: &CallSpec) -> Result<(), KernelError> {
        self.calls.admit(target, rule)
    }

    /// Has a rule asked about calls.
    ///
    /// # Errors
    /// When a program could not be attached; all others were.
    pub fn claim_calls(&mut self, rule: RuleId, calls: &Calls) -> Result<(), KernelError> {
        self.calls.claim(rule, calls, &self.lease)
    }

    /// As [`Kernel::claim_calls`], for a rule of an earlier process. False if a hook is not there.
    ///
    /// # Errors
    /// When the engine cannot be loaded.
    pub fn adopt_calls(&mut self, rule: RuleId, calls: &Calls) -> Result<bool, KernelError> {
        self.calls.adopt_hooks(rule, calls, &self.lease)
    }

    /// Undoes [`Kernel::claim_calls`].
    ///
    /// # Errors
    /// When something could not be detached.
    pub fn release_calls(&mut self, rule: RuleId) -> Result<(), KernelError> {
        self.calls.release(rule)
    }

    /// Whether the hooks of [`Kernel::claim_calls`] are where they were put.
    #[must_use]
    pub fn covers_calls(&self, rule: RuleId) -> bool {
        self.calls.covers(rule)
    }

    /// Takes a rule that is in the kernel already for that of a target. False when it is not there.
    pub fn adopt_rule(&mut self, id: RuleId, target: &Cgroup, rule: &RuleSpec) -> bool {
        self.rules.adopt(id, target, rule)
    }

    /// Whether a rule is in the kernel's tables: put or adopted here, and where its target is listed; or
    /// left by an earlier process.
    #[must_use]
    pub fn has_rule(&self, id: RuleId) -> bool {
        self.rules.has(id)
    }

    /// What a rule has seen, summed over all CPUs. Zero for a rule that is not there.
    #[must_use]
    pub fn stats(&self, id: RuleId) -> RuleStats {
        self.rules.stats(id).or_else(|| self.calls.stats(id)).unwrap_or_default()
    }

    /// Whether there is room for another rule of a target.
    ///
    /// # Errors
    /// When there is none.
    pub fn admit(&self, target: &Cgroup) -> Result<(), KernelError> {
        self.rules.admit(target)
    }

    /// Gives a rule what it needs for its target, in every network namespace that the target's processes use, now
    /// and later.
    ///
    /// # Errors
    /// When something could not be attached or made; all else was.
    pub fn claim(&mut self, need: Need, rule: RuleId, target: &Cgroup) -> Result<(), KernelError> {
        self.learn(need)?;
        self.sites.claim(need, rule, target, &mut self.object)
    }

    /// As [`Kernel::claim`], for a rule that an earlier process gave it. False if nothing of that is left where the
    /// target's processes are: somebody removed it, or it never was.
    ///
    /// # Errors
    /// As [`Kernel::claim`].
    pub fn adopt(
        &mut self,
        need: Need,
        rule: RuleId,
        target: &Cgroup,
    ) -> Result<bool, KernelError> {
        self.learn(need)?;
        self.sites.adopt(need, rule, target, &mut self.object)
    }

    /// Undoes [`Kernel::claim`]; what no rule needs any more is detached. What waits in a hop still arrives: see
    /// [`Kernel::drain`].
    ///
    /// # Errors
    /// When something could not be detached.
    pub fn release(
        &mut self,
        need: Need,
        rule: RuleId,
        target: &Cgroup,
    ) -> Result<(), KernelError> {
        self.sites.release(need, rule, target)
    }

    /// Lets the programs know of the kernel what they must for a need.
    fn learn(&mut self, need: Need) -> Result<(), KernelError> {
        match need {
            Need::Out | Need::Spoil => Ok(()),
            Need::In => self.layout.need(Part::Socket),
            Need::Hold => {
                if let Err(error) = self.layout.need(Part::Device) {
                    tracing::warn!(%error, "packets that wait are counted, but not their bytes");
                }
                Ok(())
            }
        }
    }

    /// Makes what there is of a target pass our programs, once.
    ///
    /// # Errors
    /// When the cgroup could not be attached.
    pub fn claim_cgroup(
        &mut self,
        passing: Passing,
        rule: RuleId,
        target: &Cgroup,
    ) -> Result<(), KernelError> {
        self.cgroups[passing as usize].claim(rule, target, &mut self.object)
    }

    /// As [`Kernel::claim_cgroup`], of a target that an earlier process covered; those that it lies in come
    /// first. False if a hook is not there.
    pub fn adopt_cgroup(&mut self, passing: Passing, rule: RuleId, target: &Cgroup) -> bool {
        self.cgroups[passing as usize].adopt(rule, target)
    }

    /// Undoes [`Kernel::claim_cgroup`].
    ///
    /// # Errors
    /// When a hook could not be detached, or one below it not be attached in its place.
    pub fn release_cgroup(
        &mut self,
        passing: Passing,
        rule: RuleId,
        target: &Cgroup,
    ) -> Result<(), KernelError> {
        self.cgroups[passing as usize].release(rule, target, &mut self.object)
    }

    /// Whether the hooks of [`Kernel::claim_cgroup`] are where they were put.
    #[must_use]
    pub fn covers_cgroup(&self, passing: Passing, target: &Cgroup) -> bool {
        self.cgroups[passing as usize].covers(target)
    }

    /// Whether ports are free in every network namespace of a target's processes, as far as the kernel shows it.
    ///
    /// # Errors
    /// When one is taken, or the target has no process.
    pub fn admit_ports(&self, target: &Cgroup, wanted: &NetworkOccupy) -> Result<(), KernelError> {
        self.ports.admit(target, wanted)
    }

    /// Takes ports in every network namespace of a target's processes, now and later.
    ///
    /// # Errors
    /// When one is not to be had, or the target has no process; none is held then.
    pub fn hold_ports(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &NetworkOccupy,
    ) -> Result<(), KernelError> {
        self.ports.hold(rule, target, wanted)
    }

    /// As [`Kernel::hold_ports`], for a rule that had them in an earlier process; its target may be empty now.
    ///
    /// # Errors
    /// When one is not to be had; none is held then.
    pub fn hold_ports_again(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &NetworkOccupy,
    ) -> Result<(), KernelError> {
        self.ports.hold_again(rule, target, wanted)
    }

    /// Undoes [`Kernel::hold_ports`].
    pub fn free_ports(&mut self, rule: RuleId) {
        self.ports.free(rule);
    }

    /// Lets calls of a target on files wait that its rule about calls says are to, now and where its processes go later.
    ///
    /// # Errors
    /// When the kernel refuses; nobody waits then.
    pub fn hold_files(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &HeldFiles,
    ) -> Result<(), KernelError> {
        let (tables, lease) = (self.calls.held_tables()?, &self.lease);
        self.files.hold(rule, target, wanted, &tables, &|| stay_alive(lease))
    }

    /// Undoes [`Kernel::hold_files`]; whoever waits goes on.
    pub fn free_files(&mut self, rule: RuleId) {
        self.files.free(rule);
    }

    /// Whether everything is watched that should be, as of the last [`Kernel::refresh_hooks`].
    #[must_use]
    pub fn holds_files(&self, rule: RuleId) -> bool {
        self.files.are_held(rule)
    }

    pub(super) fn refresh_files(&mut self) -> Result<(), KernelError> {
        let rules: Vec<RuleId> = self.files.rules().collect();
        let mut result = Ok(());
        for rule in rules {
            let tables = self.calls.held_tables()?;
            let refreshed = self.files.refresh(rule, &tables, &|| stay_alive(&self.lease));
            result = result.and(refreshed);
        }
        result
    }

    /// Resets the open TCP connections of a target and of all below it, both ends of each. Says of how many sockets
    /// of it.
    ///
    /// # Errors
    /// When the kernel refuses; some may be reset then.
    pub fn reset_connections(&self, target: &Cgroup, wanted: &Wanted) -> Result<u64, KernelError> {
        connections::reset(&self.root, target, wanted)
    }
}

impl Kernel {
    /// Ends the sockets that a rule has connected elsewhere and that still are, and forgets what it sent there.
    /// Where the kernel ends none on request they stay connected until whoever has them closes them.
    ///
    /// # Errors
    /// When the tables cannot be read.
    pub fn end_redirected(&mut self, rule: RuleId) -> Result<(), KernelError> {
        self.rules.end_redirected(rule)
    }
}

/// What takes its time must not cost the node's other faults their lease. The keeper tells if this fails.
fn stay_alive(lease: &Lease) {
    let _ = lease.extend();
}
