//! Everything that touches the kernel: the loaded engine, its rules, its hooks, its events.
//!
//! Nothing here decides; callers say what should be there.

mod bits;
mod btf;
mod cgroup_hooks;
mod claims;
mod clsact;
mod connections;
mod error;
mod events;
mod holder;
mod hook;
mod hop;
mod instance;
mod interfaces;
mod layout;
mod lease;
mod link;
mod namespace;
mod need;
mod netlink;
mod object;
mod pins;
mod ports;
mod probe;
mod rule_id;
mod rule_spec;
mod rules;
mod side;
mod sites;
mod standby;
mod tables;
mod tap;

pub use cgroup_hooks::Passing;
pub use connections::Wanted;
pub use error::KernelError;
pub use events::Event;
pub use holder::HeldPackets;
pub use instance::Instance;
pub use lease::Lease;
pub use need::Need;
pub use object::{Counting, Refusal};
pub use pins::Pins;
pub use probe::{EgressTier, HoldTier, Support};
pub use rule_id::RuleId;
pub use rule_spec::{About, RuleSpec};

use std::{os::fd::BorrowedFd, path::Path, sync::Arc, time::Duration};

use chaos_common::{abi::RuleStats, fault::NetworkOccupy};

use crate::{
    boot_clock::BootTime,
    target::{Cgroup, CgroupRoot},
};

/// Detaches every hook of every daemon on this node, found by names and handles alone.
///
/// Says how many pins were removed, and what could not be; one failure does not keep the rest.
#[must_use]
pub fn sweep_node(bpffs: &Path) -> (usize, Vec<KernelError>) {
    let (mut removed, mut failures) = (0, Vec::new());
    match Pins::remove_all(bpffs) {
        Ok(count) => removed = count,
        Err(error) => failures.push(error),
    }
    failures.extend(sites::sweep_node().err());
    (removed, failures)
}

/// The `net` engine in the kernel, and what of it is attached where.
pub struct Kernel {
    root: CgroupRoot,
    object: object::Object,
    rules: rules::Rules,
    sites: sites::Sites,
    /// One for each [`Passing`].
    cgroups: [cgroup_hooks::CgroupHooks; Passing::ALL.len()],
    ports: ports::Ports,
    events: events::Events,
    lease: Arc<Lease>,
    layout: layout::Layout,
    pins: Option<Pins>,
    support: Support,
    _standby: Option<standby::Standby>,
}

impl Kernel {
    /// Loads the programs. With pins, maps and links outlive this process, and what an earlier
    /// process of the same build left there is taken over: its rules go on.
    ///
    /// # Errors
    /// When the kernel refuses to load, with its reason.
    pub fn load(
        root: &CgroupRoot,
        pins: Option<Pins>,
        instance: Instance,
        lease: Duration,
    ) -> Result<Self, KernelError> {
        let loaded = object::Object::load(pins.as_ref(), instance);
        let mut object = loaded.inspect_err(|_| {
            if let Some(pins) = &pins {
                pins.abandon();
            }
        })?;
        let support = probe::probe(&mut object, instance);
        // A run has its fault before it has a victim.
        let is_worth_it = pins.is_some() && support.egress == Ok(EgressTier::Tcx);
        let standby = is_worth_it.then(|| standby::Standby::begin(&mut object)).flatten();
        Ok(Self {
            root: root.clone(),
            rules: rules::Rules::take(&mut object)?,
            sites: sites::Sites::new(root.clone(), instance, pins.clone(), &support, &mut object)?,
            cgroups: Passing::ALL
                .map(|passing| cgroup_hooks::CgroupHooks::new(passing, root.clone(), pins.clone())),
            ports: ports::Ports::new(root.clone()),
            events: events::Events::take(&mut object)?,
            layout: layout::Layout::take(&mut object)?,
            lease: Arc::new(Lease::new(tables::typed(object.take_map("LEASE")?)?, lease)),
            object,
            pins,
            support,
            _standby: standby,
        })
    }

    /// What works here, by which mechanism, or why not.
    #[must_use]
    pub fn support(&self) -> &Support {
        &self.support
    }

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

    /// Makes the kernel's tables list what was put or adopted here, and removes all else from them. Due after
    /// rules were adopted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep_rules(&mut self) -> Result<(), KernelError> {
        self.rules.sweep()
    }

    /// What a rule has seen, summed over all CPUs. Zero for a rule that is not there.
    #[must_use]
    pub fn stats(&self, id: RuleId) -> RuleStats {
        self.rules.stats(id).unwrap_or_default()
    }

    /// Until when the daemon counts as alive.
    #[must_use]
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
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

    /// What waits, in this process and in the kernel, and what was lost of what was to wait.
    #[must_use]
    pub fn held_packets(&self) -> HeldPackets {
        self.sites.held_packets()
    }

    /// Lets the programs know of the kernel what they must for a need.
    fn learn(&mut self, need: Need) -> Result<(), KernelError> {
        match need {
            Need::Out | Need::Spoil => Ok(()),
            Need::In => self.layout.need(layout::Part::Socket),
            Need::Hold => {
                if let Err(error) = self.layout.need(layout::Part::Device) {
                    tracing::warn!(%error, "packets that wait are counted, but not their bytes");
                }
                Ok(())
            }
        }
    }

    /// Follows the targets' processes into the network namespaces they use now, and attaches what could
    /// not be attached before. Ports are taken there too.
    ///
    /// # Errors
    /// When something could not be attached or detached; everything else was.
    pub fn refresh_hooks(&mut self) -> Result<(), KernelError> {
        let sites =
            if self.sites.has_claims() { self.sites.refresh(&mut self.object) } else { Ok(()) };
        let cgroups = self.cgroups.iter_mut().map(|hooks| hooks.refresh(&mut self.object));
        cgroups.fold(sites, Result::and).and(self.ports.refresh())
    }

    /// Follows interfaces that come and go; see [`Kernel::interface_watches`].
    ///
    /// # Errors
    /// When an interface could not be attached; all others were.
    pub fn refresh_interfaces(&mut self) -> Result<(), KernelError> {
        self.sites.refresh_interfaces(&mut self.object)
    }

    /// When [`Kernel::drain`] is due.
    #[must_use]
    pub fn drain_due(&self) -> BootTime {
        self.sites.drain_due()
    }

    /// Removes the places in which packets of ended faults waited: those that are empty, or all, and then what
    /// still waits is lost. Whether any is left.
    ///
    /// # Errors
    /// When one could not be removed; it is tried again.
    pub fn drain(&mut self, at_once: bool) -> Result<bool, KernelError> {
        self.sites.drain(at_once)
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

    /// Resets the open TCP connections of a target and of all below it, both ends of each. Says of how many sockets
    /// of it.
    ///
    /// # Errors
    /// When the kernel refuses; some may be reset then.
    pub fn reset_connections(&self, target: &Cgroup, wanted: &Wanted) -> Result<u64, KernelError> {
        connections::reset(&self.root, target, wanted)
    }

    /// Detaches hooks that an earlier process left and that nothing claimed since.
    ///
    /// # Errors
    /// When a hook could not be detached.
    pub fn sweep_hooks(&mut self) -> Result<(), KernelError> {
        let cgroups = self.cgroups.iter_mut().map(cgroup_hooks::CgroupHooks::sweep);
        cgroups.fold(self.sites.sweep(), Result::and)
    }

    /// Looks again where the hooks are, for [`Kernel::covers`].
    ///
    /// # Errors
    /// When some network namespace could not be looked into; all others were.
    pub fn inspect(&mut self) -> Result<(), KernelError> {
        self.sites.inspect()
    }

    /// Whether everything is where it was put in the network namespaces of a target, as of the last
    /// [`Kernel::inspect`]. With no claim there is nothing that could be amiss.
    #[must_use]
    pub fn covers(&self, target: &Cgroup) -> bool {
        self.sites.covers(target)
    }

    /// Whether every pin is there; quick. They can be removed by hand, and `chaos recover --all` beside a
    /// daemon that hangs does so.
    #[must_use]
    pub fn has_pins(&self) -> bool {
        let Some(pins) = &self.pins else { return true };
        self.object.has_pins(pins)
            && self.sites.has_pins()
            && self.cgroups.iter().all(cgroup_hooks::CgroupHooks::has_pins)
    }

    /// Makes the pins of the maps again, where they were removed.
    ///
    /// # Errors
    /// When bpffs cannot be written, or another daemon has taken the place.
    pub fn restore_pins(&self) -> Result<(), KernelError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        pins.restore()?;
        self.object.restore_pins(pins)
    }

    /// Descriptors that become readable when interfaces come or go where we are attached.
    pub fn interface_watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sites.watches()
    }

    /// Becomes readable when firings were reported.
    #[must_use]
    pub fn event_watch(&self) -> BorrowedFd<'_> {
        self.events.watch()
    }

    /// Makes firings say which process ran, from now on and where the kernel tells how to know.
    pub fn report_processes(&mut self) {
        if let Err(error) = self.layout.need(layout::Part::Process) {
            tracing::warn!(%error, "firings will not say which process caused them");
        }
    }

    /// Takes the reported firings.
    pub fn take_events(&mut self, each: impl FnMut(Event)) {
        self.events.take_all(each);
    }

    /// Removes every pin of this instance; with hooks and rules gone, nothing of it is left.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn remove_pins(&mut self) -> Result<(), KernelError> {
        match &self.pins {
            Some(pins) => pins.remove(),
            None => Ok(()),
        }
    }
}
