//! Owns the injections of this node: accepts them, keeps them alive, ends them.
//!
//! # Flow
//! `inject`: policy → plan → journal (fsync) → effects in order → active. `recover`, the deadline, the
//! target's removal and the engine's own end: journal says so → effects undone → journal entry gone.
//!
//! # Guarantees
//! * No effect is on the node without a journal entry that was on disk before it.
//! * A failed undo is kept, shown as *stuck*, and tried again every few seconds.
//! * When this process stops working, for whatever reason, every fault is inert within the lease.
//!
//! # Caveats
//! `chaos exec` runs the engine without journal and pins: then the kernel ends everything with the
//! process, but for clsact filters and hops, which the lease makes inert and the next start removes.

mod aim;
mod answer;
mod audit;
mod cgroup_watch;
mod error;
mod inject;
mod injection;
mod journal;
mod keeper;
mod parting;
mod record;
mod recovery;
mod start;
mod sweep;
mod transition;
mod world;

pub use answer::{AllRecovered, Firing, Notice, Parting, Plan, Which};
pub use error::{EngineError, StartError, StorageError};
pub use start::{Config, Durable};
pub use sweep::{Swept, sweep_node};

use std::sync::Arc;

use chaos_common::{
    injection::{End, Injection, State},
    spec::InjectionId,
    value::Lifetime,
};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::broadcast;

use crate::{
    boot_clock::BootTime,
    effect::REMOVED,
    fault::{self, Capability},
    kernel,
    peer::Seeker,
    policy::Policy,
    target::{Cgroup, CgroupRoot},
};
use aim::Aim;
use injection::{Ending, Live, Phase};
use journal::Journal;
use keeper::Keeper;
use record::Record;
use world::World;

/// The injections of this node. All methods block for a few system calls, and some for a disk flush.
pub struct Engine {
    root: CgroupRoot,
    policy: Policy,
    journal: Option<Journal>,
    world: Mutex<World>,
    /// Signalled when an injection leaves the phase of being applied.
    settled: Condvar,
    notices: broadcast::Sender<Notice>,
    keeper: Keeper,
    aim: Aim,
    /// Kept without the lock.
    lease: Arc<kernel::Lease>,
}

impl Engine {
    fn seeker<'a>(&'a self, target: &'a Cgroup) -> Seeker<'a> {
        // Without a journal it is `chaos exec`, and the target its command.
        Seeker { root: &self.root, target, is_parent: self.journal.is_none() }
    }

    /// What is known under an id, once nobody is busy with it.
    fn settled(&self, world: &mut MutexGuard<'_, World>, id: &InjectionId) -> Option<Injection> {
        while world.live.get(id).is_some_and(|live| !live.is_settled()) {
            self.settled.wait(world);
        }
        world.find(id)
    }

    /// Moves the deadline to now plus `duration`, or plus the duration first asked for.
    ///
    /// # Errors
    /// When the id is unknown, the injection over, or the policy or the kernel says no.
    pub fn renew(
        &self,
        id: &InjectionId,
        duration: Option<Lifetime>,
        who: &str,
    ) -> Result<Injection, EngineError> {
        let mut world = self.world.lock();
        self.settled(&mut world, id);
        let duration = duration.unwrap_or(world.active(id)?.record.spec.duration);
        self.policy.check_duration(duration)?;
        let deadline = BootTime::now().after(duration.get());
        let injection = self.change(world, id, |record| record.deadline = deadline)?;
        let until = jiff::Timestamp::try_from(injection.expires_at).unwrap_or_default().to_string();
        self.world.lock().audit(who, audit::Action::Renew { id, until });
        self.announce(&injection);
        Ok(injection)
    }

    /// Changes what the journal and the kernel have of a live injection.
    fn change(
        &self,
        mut world: MutexGuard<'_, World>,
        id: &InjectionId,
        change: impl FnOnce(&mut Record),
    ) -> Result<Injection, EngineError> {
        let (before, after) = world.begin_change(id, change)?;
        drop(world);
        let write =
            |record: &Record| self.journal.as_ref().map_or(Ok(()), |journal| journal.write(record));
        let journalled = write(&after);
        let mut world = self.world.lock();
        let changed = match journalled {
            Ok(()) => world.end_change(after),
            Err(error) => {
                world.undo_change(&before);
                Err(error.into())
            }
        };
        if changed.is_err()
            && let Err(error) = write(&before)
        {
            tracing::error!(injection = %id, %error, "a change that was refused may still be in the journal, and would hold after a restart");
        }
        self.settled.notify_all();
        self.keeper.wake_by(world.next_due());
        changed
    }

    /// Ends an injection. Over already is no error. An undo that fails is retried; the returned state
    /// says so.
    ///
    /// # Errors
    /// When the id is unknown.
    pub fn recover(&self, id: &InjectionId, who: &str) -> Result<Injection, EngineError> {
        let mut world = self.world.lock();
        let before = self.settled(&mut world, id);
        if world.live.contains_key(id) {
            self.end(&mut world, id, End::Recovered.into(), who);
        }
        world.find(id).or(before).ok_or_else(|| EngineError::Unknown(id.clone()))
    }

    /// Ends every injection, and sweeps whatever else of ours is in the kernel. Returns all that were
    /// live, as they are now.
    pub fn recover_all(&self, who: &str) -> AllRecovered {
        let mut world = self.world.lock();
        world.audit(who, audit::Action::RecoverAll);
        // Those of now, and first those that nobody is busy with: whoever goes on injecting cannot keep
        // this from coming to an end.
        let (at_once, later): (Vec<_>, Vec<_>) = world
            .ids()
            .into_iter()
            .partition(|id| world.live.get(id).is_some_and(Live::is_settled));
        let mut ended = Vec::new();
        for id in at_once.iter().chain(&later) {
            self.settled(&mut world, id);
            ended.extend(self.end(&mut world, id, End::Recovered.into(), who));
        }
        let sweeps = [world.kernel.sweep_rules(), world.kernel.sweep_hooks()];
        let unswept = sweeps.into_iter().filter_map(Result::err).map(|error| error.to_string());
        AllRecovered { injections: ended, unswept: unswept.collect() }
    }

    /// One injection as it is now.
    ///
    /// # Errors
    /// When the id is unknown.
    pub fn get(&self, id: &InjectionId) -> Result<Injection, EngineError> {
        self.world.lock().find(id).ok_or_else(|| EngineError::Unknown(id.clone()))
    }

    /// Live injections, oldest first; before them those that ended, if asked for.
    #[must_use]
    pub fn list(&self, which: Which) -> Vec<Injection> {
        let world = self.world.lock();
        let mut all = match which {
            Which::Live => Vec::new(),
            Which::AlsoEnded => world.ended_in_order().cloned().collect(),
        };
        all.extend(world.in_order().map(|live| world.view(live)));
        all
    }

    /// The packets that wait in this process, where it is the one that holds them.
    #[must_use]
    pub fn held_packets(&self) -> kernel::HeldPackets {
        self.world.lock().kernel.held_packets()
    }

    /// How many injections are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.world.lock().live.len()
    }

    /// Every aspect of every fault: its mechanism here, or why there is none.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        // What has to be tried first takes its time.
        let support = self.world.lock().kernel.support().clone();
        fault::capabilities(&support)
    }

    /// The cgroup tree.
    #[must_use]
    pub fn root(&self) -> &CgroupRoot {
        &self.root
    }

    /// The node's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What happens from now on. Firings are collected only while somebody listens.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        let mut world = self.world.lock();
        if self.notices.receiver_count() == 0 {
            // What nobody watched is old news; what comes from now on is not.
            world.kernel.take_events(|_| ());
        }
        let receiver = self.notices.subscribe();
        world.kernel.report_processes();
        self.keeper.wake();
        receiver
    }

    /// Ends everything if pins are gone: somebody removed them to end it, as the kill switch does.
    fn end_unpinned(&self, world: &mut World) {
        // One that is only now applied makes its pins anew.
        let mut ids = world.ids();
        ids.retain(|id| world.live.get(id).is_some_and(Live::is_settled));
        if ids.is_empty() || world.kernel.has_pins() {
            return;
        }
        tracing::error!(
            injections = ids.len(),
            "pins were removed from outside; ending everything"
        );
        for id in ids {
            self.end(world, &id, Ending::interrupted(REMOVED), keeper::SELF);
        }
    }

    /// Ends one live injection and tells everybody who does not know yet. Returns it as it is then.
    fn end(
        &self,
        world: &mut World,
        id: &InjectionId,
        ending: Ending,
        who: &str,
    ) -> Option<Injection> {
        let was_stuck = matches!(world.live.get(id)?.phase, Phase::Stuck(_));
        let injection = world.end(id, ending, self.journal.as_ref())?;
        match injection.state {
            State::Ended(why) => {
                let fired = injection.counters.fired;
                world.audit(who, audit::Action::End { id, why, fired });
                self.announce(&injection);
            }
            State::Applying | State::Active | State::Recovering | State::Stuck(_) => {
                // A retry that failed too is no news.
                if !was_stuck {
                    let reason = &injection.message;
                    world.audit(who, audit::Action::Stuck { id, reason });
                    self.announce(&injection);
                }
            }
        }
        self.keeper.wake_by(world.next_due());
        Some(injection)
    }

    fn announce(&self, injection: &Injection) {
        // Nobody listening is fine.
        let _ = self.notices.send(Notice::Changed(Arc::new(injection.clone())));
    }
}
