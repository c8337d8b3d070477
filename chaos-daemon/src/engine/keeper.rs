//! The engine's one thread: renews the lease, ends what is due, follows cgroups and interfaces, and
//! carries firings to those who watch.
//!
//! It sleeps until the next of these; with nothing live, for ever.

use std::{
    collections::HashSet,
    fs,
    os::fd::{AsRawFd as _, RawFd},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use chaos_common::{injection::End, spec::InjectionId};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
};
use parking_lot::Mutex;

use super::{Engine, Firing, Notice, world::World};
use crate::{
    boot_clock::BootTime,
    kernel::Event,
    target,
};

/// Who ends an injection by itself, in the audit log.
const SELF: &str = "chaos-daemon";
/// How often everything is looked at again, whether or not anything was heard.
const SWEEP: Duration = Duration::from_secs(60);

/// Handle of the thread.
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
        let weak = Arc::downgrade(engine);
        let thread = thread::Builder::new().name("keeper".into()).spawn(move || run(&weak))?;
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

/// What the thread remembers between rounds.
struct Round {
    epoll: Epoll,
    /// Descriptors in the epoll set besides the fixed ones.
    interfaces: HashSet<RawFd>,
    ring: bool,
    swept: BootTime,
}

fn run(engine: &Weak<Engine>) {
    let Some(first) = engine.upgrade() else { return };
    let mut round = match Round::new(&first) {
        Ok(round) => round,
        Err(error) => {
            tracing::error!(%error, "the keeper cannot wait for anything; faults end by their leases");
            return;
        }
    };
    drop(first);
    while let Some(engine) = engine.upgrade() {
        if engine.world.lock().closing {
            return;
        }
        round.turn(&engine);
    }
}

impl Round {
    fn new(engine: &Engine) -> nix::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(&engine.keeper.wake, readable)?;
        epoll.add(&engine.world.lock().cgroups, readable)?;
        Ok(Self { epoll, interfaces: HashSet::new(), ring: false, swept: BootTime::now() })
    }

    fn turn(&mut self, engine: &Engine) {
        let timeout = {
            let world = engine.world.lock();
            self.listen(engine, &world);
            let mut due = world.next_due();
            if world.live.is_empty() {
                // Nothing to sweep: the clock starts anew with the first injection.
                self.swept = BootTime::now();
            } else {
                due = due.min(self.swept.after(SWEEP));
            }
            engine.keeper.wakes_at.store(due.nanos(), Ordering::Release);
            // Something may have become due before that store was seen.
            let due = due.min(world.next_due());
            timeout_until(due)
        };
        let mut events = [EpollEvent::empty(); 8];
        match self.epoll.wait(&mut events, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                tracing::error!(%errno, "the keeper could not wait");
                thread::sleep(Duration::from_secs(1));
            }
        }
        let _ = engine.keeper.wake.read();
        let mut world = engine.world.lock();
        if world.closing {
            return;
        }
        self.carry_firings(engine, &mut world);
        self.act(engine, &mut world);
    }

    /// Brings the epoll set in line with what there is to listen to.
    fn listen(&mut self, engine: &Engine, world: &World) {
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        let mut now = HashSet::new();
        for watch in world.kernel.interface_watches() {
            now.insert(watch.as_raw_fd());
            if let Err(errno) = self.epoll.add(watch, readable)
                && errno != Errno::EEXIST
            {
                tracing::error!(%errno, "cannot follow the interfaces of a network namespace");
            }
        }
        // Closed ones left the set by themselves.
        self.interfaces = now;
        let wanted = engine.notices.receiver_count() > 0;
        if wanted != self.ring {
            let ring = world.kernel.event_watch();
            let changed =
                if wanted { self.epoll.add(ring, readable) } else { self.epoll.delete(ring) };
            if let Err(errno) = changed {
                tracing::error!(%errno, "cannot follow the ring of events");
            }
            self.ring = wanted;
        }
    }

    fn carry_firings(&self, engine: &Engine, world: &mut World) {
        if !self.ring {
            return;
        }
        let mut events = Vec::new();
        world.kernel.take_events(|event| events.push(event));
        for event in events {
            let Some(id) = world.by_rule.get(&event.rule).cloned() else { continue };
            let process = process(world, &id, &event);
            let firing = Firing { id, event, process };
            let _ = engine.notices.send(Notice::Firing(Arc::new(firing)));
        }
    }

    fn act(&mut self, engine: &Engine, world: &mut World) {
        if !world.live.is_empty()
            && let Err(error) = world.extend_lease()
        {
            tracing::error!(%error, "could not renew the lease; faults end by themselves");
        }
        for (id, why) in world.due() {
            engine.end(world, &id, why, SELF);
        }
        let heard = world.cgroups.take();
        let is_sweep = BootTime::now() >= self.swept.after(SWEEP);
        if heard.removed || is_sweep {
            for id in vanished(world) {
                engine.end(world, &id, End::TargetGone, SELF);
            }
        }
        // Processes that change their namespace are noticed at the pace of the lease.
        let refreshed = world.kernel.refresh_interfaces().and_then(|()| world.kernel.refresh_egress());
        if let Err(error) = refreshed {
            tracing::warn!(%error, "not every interface of every target is attached; tried again");
        }
        if is_sweep {
            self.swept = BootTime::now();
            if let Err(error) = world.kernel.sweep_rules() {
                tracing::error!(%error, "could not sweep the kernel's tables");
            }
        }
    }
}

/// Live injections whose cgroup is no more, or is another one under the same name.
fn vanished(world: &World) -> Vec<InjectionId> {
    let is_gone = |cgroup: &target::Cgroup| {
        !matches!(world.root.look_up(&cgroup.path), Ok(Some(now)) if now.id == cgroup.id)
    };
    let live = world.live.values().filter(|live| is_gone(&live.record.target()));
    live.map(|live| live.record.id.clone()).collect()
}

/// The process that ran when a packet passed, if it is one of the target's; in a softirq it need not be.
fn process(world: &World, id: &InjectionId, event: &Event) -> Option<(u32, String)> {
    let pid = event.pid?;
    let target = &world.live.get(id)?.record.cgroup;
    let cgroup = target::of_process(pid).ok()?;
    let below = cgroup.as_str().strip_prefix(target.as_str())?;
    if !below.is_empty() && !below.starts_with('/') {
        return None;
    }
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, comm.trim_end().to_owned()))
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
