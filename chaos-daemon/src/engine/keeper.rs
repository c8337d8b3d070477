//! The engine's one thread: renews the lease, ends what is due, follows cgroups and interfaces, and
//! carries firings to those who watch.
//!
//! It sleeps until the next of these; with nothing live, for ever.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use chaos_common::{injection::End, target::CgroupPath};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
};
use parking_lot::{Mutex, MutexGuard};

use super::{Engine, Firing, Notice, cgroup_watch::Heard, world::World};
use crate::{
    abort::AbortOnPanic,
    boot_clock::BootTime,
    kernel::{Event, Hit, KernelError, Lease},
    target,
};

/// Who ends an injection by itself, in the audit log.
pub(super) const SELF: &str = "chaos-daemon";
/// How often everything is looked at again, whether or not anything was heard.
const SWEEP: Duration = Duration::from_secs(60);
/// How long somebody may work on the engine's memory before that counts as hanging.
const BELIEF: Duration = Duration::from_secs(60);
/// Between two tries of what should not fail.
const PAUSE: Duration = Duration::from_secs(1);

/// Handle of the thread, which keeps the engine until it is stopped.
pub(super) struct Keeper {
    wake: EventFd,
    /// When the thread wakes by itself, in nanoseconds of the boot clock.
    wakes_at: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn new() -> nix::Result<Self> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { wake, wakes_at: AtomicU64::new(u64::MAX), thread: Mutex::new(None) })
    }

    pub(super) fn start(engine: &Arc<Engine>) -> std::io::Result<()> {
        let (own, mut round) = (Arc::clone(engine), Round::new(engine)?);
        let thread = thread::Builder::new().name("keeper".into()).spawn(move || {
            let _guard = AbortOnPanic;
            while round.run(&own) == Life::GoesOn {}
        })?;
        *engine.keeper.thread.lock() = Some(thread);
        Ok(())
    }

    /// Lets the thread look at everything now.
    pub(super) fn wake(&self) {
        let _ = self.wake.write(1);
    }

    /// Makes sure that the thread looks at everything by then.
    pub(super) fn wake_by(&self, moment: BootTime) {
        if moment.nanos() < self.wakes_at.load(Ordering::Acquire) {
            self.wake();
        }
    }

    /// Ends the thread; the engine is closing.
    pub(super) fn stop(&self) {
        self.wake();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the keeper had panicked");
        }
    }
}

/// What woke the thread, as the data of an epoll event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Source {
    Wake,
    Cgroups,
    Interfaces,
    Firings,
}

impl Source {
    fn readable(self) -> EpollEvent {
        EpollEvent::new(EpollFlags::EPOLLIN, self as u64)
    }
}

/// What the thread remembers between rounds.
struct Round {
    epoll: Epoll,
    hears_firings: bool,
    swept: BootTime,
}

/// The engine's memory, for the keeper. While somebody else works on it, faults go on: the daemon is alive.
/// After [`BELIEF`] that is not believed any more.
fn lock(engine: &Engine) -> MutexGuard<'_, World> {
    let begin = BootTime::now();
    while BootTime::now() < begin.after(BELIEF) {
        if let Some(world) = engine.world.try_lock() {
            return world;
        }
        extend(&engine.lease);
        if let Some(world) = engine.world.try_lock_for(engine.lease.beat()) {
            return world;
        }
    }
    tracing::error!("something hangs; faults end with the lease until it goes on");
    engine.world.lock()
}

/// Returns whether it was time to.
fn extend(lease: &Lease) -> bool {
    lease.extend().unwrap_or_else(|error| {
        tracing::error!(%error, "could not renew the lease; faults end by themselves");
        // It is due, and so will be tried again at once.
        thread::sleep(PAUSE);
        false
    })
}

/// Whether the thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    GoesOn,
    Over,
}

impl Round {
    fn run(&mut self, engine: &Engine) -> Life {
        let timeout = self.prepare(engine);
        let woken = self.wait(timeout);
        self.act(engine, &woken)
    }

    fn new(engine: &Engine) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&engine.keeper.wake, Source::Wake.readable())?;
        epoll.add(&engine.world.lock().cgroups, Source::Cgroups.readable())?;
        Ok(Self { epoll, hears_firings: false, swept: BootTime::now() })
    }

    /// Listens to all there is to hear, and says how long.
    fn prepare(&mut self, engine: &Engine) -> EpollTimeout {
        let mut world = lock(engine);
        for watch in world.kernel.interface_watches() {
            // One that was closed left the set by itself, and one that is in it already is fine.
            if let Err(errno) = self.epoll.add(watch, Source::Interfaces.readable())
                && errno != Errno::EEXIST
            {
                tracing::error!(%errno, "cannot follow the interfaces of a network namespace");
            }
        }
        self.listen_to_firings(engine, &mut world);
        let mut due = world.next_due();
        if world.live.is_empty() {
            // Nothing to sweep: the clock starts anew with the first injection.
            self.swept = BootTime::now();
        } else {
            due = due.min(self.swept.after(SWEEP));
        }
        // Under the lock, so that whoever changes what is due sees it.
        engine.keeper.wakes_at.store(due.nanos(), Ordering::Release);
        timeout_until(due)
    }

    fn listen_to_firings(&mut self, engine: &Engine, world: &mut World) {
        let wanted = engine.notices.receiver_count() > 0;
        if !wanted && !self.hears_firings {
            return;
        }
        // An engine may have been loaded meanwhile.
        for ring in world.kernel.event_watches() {
            let changed = if wanted {
                self.epoll.add(ring, Source::Firings.readable())
            } else {
                self.epoll.delete(ring)
            };
            if let Err(errno) = changed
                && !matches!(errno, Errno::EEXIST | Errno::ENOENT)
            {
                tracing::error!(%errno, "cannot follow the ring of events");
            }
        }
        self.hears_firings = wanted;
    }

    fn wait(&self, timeout: EpollTimeout) -> Vec<u64> {
        let mut events = [EpollEvent::empty(); 16];
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => events.iter().take(count).map(EpollEvent::data).collect(),
            Err(Errno::EINTR) => Vec::new(),
            Err(errno) => {
                tracing::error!(%errno, "the keeper could not wait");
                thread::sleep(PAUSE);
                Vec::new()
            }
        }
    }

    fn act(&mut self, engine: &Engine, woken: &[u64]) -> Life {
        let by = |source: Source| woken.contains(&(source as u64));
        if by(Source::Wake) {
            let _ = engine.keeper.wake.read();
        }
        let mut world = lock(engine);
        if world.closing {
            return Life::Over;
        }
        if by(Source::Firings) {
            carry_firings(engine, &mut world);
        }
        let is_renewed = !world.live.is_empty() && extend(&engine.lease);
        for id in world.due() {
            engine.end(&mut world, &id, End::Expired.into(), SELF);
        }
        let heard = if by(Source::Cgroups) { world.cgroups.take() } else { Heard::default() };
        if heard.removed {
            for id in world.orphans() {
                engine.end(&mut world, &id, End::TargetGone.into(), SELF);
            }
        }
        if by(Source::Interfaces) {
            warn_of(world.kernel.refresh_interfaces());
        }
        // Quick, so at the pace of the lease: it is how a daemon that hung hears of the kill switch.
        if is_renewed {
            engine.end_unpinned(&mut world);
        }
        if BootTime::now() >= world.kernel.drain_due() {
            warn_of(world.kernel.drain(false).map(drop));
        }
        let is_sweep = BootTime::now() >= self.swept.after(SWEEP);
        if is_sweep {
            self.reconcile(engine, &mut world);
        }
        // A process that changes its namespace tells nobody: noticed at the pace of the lease.
        if heard.populated || is_renewed || is_sweep {
            let refreshed = world.kernel.refresh_hooks();
            let is_whole = refreshed.is_ok();
            warn_of(refreshed);
            // Nothing shall seem to be there for long that is not.
            if !is_whole && !is_sweep {
                self.reconcile(engine, &mut world);
            }
        }
        Life::GoesOn
    }

    /// Observe, decide, act: as at the start, over everything.
    fn reconcile(&mut self, engine: &Engine, world: &mut World) {
        self.swept = BootTime::now();
        warn_of(world.kernel.inspect());
        for (id, ending) in world.doomed() {
            tracing::warn!(injection = %id, why = ending.why.word(), reason = ending.reason, "cannot go on");
            engine.end(world, &id, ending, SELF);
        }
        warn_of(world.kernel.sweep_rules());
    }
}

fn warn_of(result: Result<(), KernelError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "not everything is as it should be; tried again");
    }
}

fn carry_firings(engine: &Engine, world: &mut World) {
    let mut events = Vec::new();
    world.kernel.take_events(|event| events.push(event));
    for mut event in events {
        if let Hit::Packet(packet) = &mut event.what
            && !engine.policy.reports_names()
        {
            packet.question = None;
        }
        let Some(live) = world.owner(event.rule) else { continue };
        let id = live.record.id.clone();
        let process = process(&live.record.cgroup, &event);
        let firing = Firing { id, event, process };
        // Nobody listening any more is fine.
        let _ = engine.notices.send(Notice::Firing(Arc::new(firing)));
    }
}

/// The process that ran when a packet passed, if it is one of the target's; in a softirq it need not be.
fn process(target: &CgroupPath, event: &Event) -> Option<(u32, String)> {
    let pid = event.pid?;
    let cgroup = target::of_process(pid).ok()?;
    let below = cgroup.as_str().strip_prefix(target.as_str())?;
    if !below.is_empty() && !below.starts_with('/') {
        return None;
    }
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, String::from_utf8_lossy(&comm).trim_end().to_owned()))
}

fn timeout_until(due: BootTime) -> EpollTimeout {
    if due == BootTime::NEVER {
        return EpollTimeout::NONE;
    }
    let wait = due.since(BootTime::now());
    // Rounded up, so that it is due when we wake.
    let millis = i32::try_from(wait.as_millis().saturating_add(1)).unwrap_or(i32::MAX);
    EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
}
