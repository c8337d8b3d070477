//! Everything that touches the kernel: the loaded engine, its rules, its hooks, its events.
//!
//! Nothing here decides; callers say what should be there.

mod apply;
mod bits;
mod bpf;
mod btf;
mod call;
mod cgroup_hooks;
mod claims;
mod clsact;
mod connections;
mod error;
mod events;
mod files;
mod holder;
mod hook;
mod hop;
mod instance;
mod interfaces;
mod layout;
mod lease;
mod ledger;
mod link;
mod namespace;
mod need;
mod netlink;
mod object;
mod pins;
mod ports;
mod prefixes;
mod probe;
mod redirected;
mod rule_id;
mod rule_spec;
mod rules;
mod side;
mod sites;
mod standby;
mod tables;
mod tap;

#[doc(hidden)]
pub use bpf::attach_nothing;
pub use call::{CallSpec, CallSupport, Calls, Found, SyscallTier};
pub(crate) use call::{Hook as OperationHook, signature};
pub use cgroup_hooks::Passing;
pub use connections::Wanted;
pub use error::KernelError;
pub use events::{Event, Hit, HitCall, HitPacket, HitQuestion};
pub use files::{FileSupport, HeldFiles, holder_main, look as look_for_files};
pub use holder::HeldPackets;
pub use instance::Instance;
pub use lease::Lease;
pub use need::Need;
pub use object::{Counting, Refusal};
pub use pins::Pins;
pub use probe::{EgressTier, HoldTier, Support};
pub use rule_id::RuleId;
pub use rule_spec::{About, Beside, RuleSpec};

use std::{os::fd::BorrowedFd, path::Path, sync::Arc, time::Duration};

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
    failures.extend(files::sweep_node().err());
    (removed, failures)
}

/// The engines in the kernel, and what of them is attached where.
pub struct Kernel {
    root: CgroupRoot,
    object: object::Object,
    rules: rules::Rules,
    sites: sites::Sites,
    /// One for each [`Passing`].
    cgroups: [cgroup_hooks::CgroupHooks; Passing::ALL.len()],
    ports: ports::Ports,
    calls: call::CallEngine,
    files: files::Files,
    events: events::Ring,
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
            files: files::Files::new(root.clone(), pins.is_none()),
            calls: call::CallEngine::new(pins.clone(), support.calls.clone()),
            events: events::Ring::take(object.take_map("EVENTS")?)?,
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

    /// Makes the kernel's tables list what was put or adopted here, and removes all else from them. Due after
    /// rules were adopted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn sweep_rules(&mut self) -> Result<(), KernelError> {
        self.rules.sweep().and(self.calls.sweep_rules())
    }

    /// Until when the daemon counts as alive.
    #[must_use]
    pub fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// What waits, in this process and in the kernel, and what was lost of what was to wait.
    #[must_use]
    pub fn held_packets(&self) -> HeldPackets {
        self.sites.held_packets()
    }

    /// Follows the targets' processes into the network namespaces they use now, and attaches what could
    /// not be attached before. Ports are taken there too, and files are watched in the mount namespaces.
    ///
    /// # Errors
    /// When something could not be attached or detached; everything else was.
    pub fn refresh_hooks(&mut self) -> Result<(), KernelError> {
        let sites =
            if self.sites.has_claims() { self.sites.refresh(&mut self.object) } else { Ok(()) };
        let cgroups = self.cgroups.iter_mut().map(|hooks| hooks.refresh(&mut self.object));
        let cgroups = cgroups.fold(sites, Result::and);
        cgroups.and(self.ports.refresh()).and(self.refresh_files())
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
        self.sites.drain_due().min(self.calls.going_due())
    }

    /// Removes the places in which packets of ended faults waited: those that are empty, or all, and then what
    /// still waits is lost. Whether any is left. Detaches hooks of calls that nobody has needed for a while.
    ///
    /// # Errors
    /// When one could not be removed; it is tried again.
    pub fn drain(&mut self, at_once: bool) -> Result<bool, KernelError> {
        self.calls.let_go();
        self.sites.drain(at_once)
    }

    /// Detaches hooks that an earlier process left and that nothing claimed since.
    ///
    /// # Errors
    /// When a hook could not be detached.
    pub fn sweep_hooks(&mut self) -> Result<(), KernelError> {
        let cgroups = self.cgroups.iter_mut().map(cgroup_hooks::CgroupHooks::sweep);
        cgroups.fold(self.sites.sweep(), Result::and).and(self.calls.sweep_hooks())
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
            && self.calls.has_pins()
    }

    /// Makes the pins of the maps again, where they were removed.
    ///
    /// # Errors
    /// When bpffs cannot be written, or another daemon has taken the place.
    pub fn restore_pins(&self) -> Result<(), KernelError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        pins.restore()?;
        self.object.restore_pins(pins)?;
        self.calls.restore_pins()
    }

    /// Descriptors that become readable when interfaces come or go where we are attached.
    pub fn interface_watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sites.watches()
    }

    /// Descriptors that become readable when firings were reported.
    pub fn event_watches(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.events.watch()).chain(self.calls.event_watch())
    }

    /// Makes firings say which process ran, from now on and where the kernel tells how to know.
    pub fn report_processes(&mut self) {
        if let Err(error) = self.layout.need(layout::Part::Process) {
            tracing::warn!(%error, "firings will not say which process caused them");
        }
    }

    /// Takes the reported firings.
    pub fn take_events(&mut self, mut each: impl FnMut(Event)) {
        self.events.take_packets(&mut each);
        self.calls.take_events(each);
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
