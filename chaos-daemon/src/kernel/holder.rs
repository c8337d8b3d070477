//! Packets that wait in this process's memory, for all network namespaces, on one thread of its own. The thread
//! begins with the first TAP device and sleeps while nothing comes and nothing is due.
//!
//! Guarantees: a packet leaves at its time or after it, those of the same time in the order in which they came. What
//! there is no room for is lost and counted, as an `fq` would lose it. With the process go the devices, and with
//! these the packets; nothing is sent to a device that is not there.

mod waiting;

use std::{
    collections::HashMap,
    io,
    os::fd::AsFd as _,
    process,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::clock_gettime,
};
use parking_lot::Mutex;

use super::tap::{FRAME, Frame, Tap};
use crate::abort::AbortOnPanic;
use waiting::{Held, Waiting};

/// Frames that are read from one device before others have their turn.
const BATCH: usize = 64;
/// Word of packets that were lost comes so often at most.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The token of the timer; devices have the inodes of their namespaces.
const TIMER: u64 = 0;

/// Packets that wait, or were to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldPackets {
    /// How many do now.
    pub waiting: u64,
    /// How many had no room, or could not be sent back, since this process began.
    pub lost: u64,
}

/// The packets that wait, and the devices that they come from and go back to.
pub(super) struct Holder {
    running: Mutex<Option<Running>>,
}

struct Running {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

/// What the thread shares with those who give it work.
struct Desk {
    epoll: Epoll,
    timer: TimerFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the inode of their network namespace.
    taps: HashMap<u64, Tap>,
    waiting: Waiting,
    is_ending: bool,
}

impl Holder {
    /// Does nothing until there is a device.
    pub(super) const fn new() -> Self {
        Self { running: Mutex::new(None) }
    }

    /// Holds what is sent into a device from now on.
    pub(super) fn add(&self, namespace: u64, tap: Tap) -> io::Result<()> {
        let mut running = self.running.lock();
        let running = match &mut *running {
            Some(running) => running,
            none @ None => none.insert(Running::start()?),
        };
        let mut state = running.desk.state.lock();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, namespace);
        running.desk.epoll.add(&tap, event)?;
        state.taps.insert(namespace, tap);
        Ok(())
    }

    /// Whether there is a device.
    pub(super) fn has(&self, namespace: u64) -> bool {
        self.look(|state| state.taps.contains_key(&namespace)).unwrap_or(false)
    }

    /// Whether nothing waits in a namespace.
    pub(super) fn is_empty(&self, namespace: u64) -> io::Result<bool> {
        let found = self.look(|state| {
            let Some(tap) = state.taps.get(&namespace) else { return Ok(true) };
            let mut fds = [PollFd::new(tap.as_fd(), PollFlags::POLLIN)];
            let is_unread = poll(&mut fds, PollTimeout::ZERO)? > 0;
            Ok(!is_unread && !state.waiting.has(namespace))
        });
        found.unwrap_or(Ok(true))
    }

    /// Lets go of a device, which ends with that; what still waits is lost.
    pub(super) fn remove(&self, namespace: u64) {
        self.look(|state| {
            state.taps.remove(&namespace);
            state.waiting.forget(namespace);
        });
    }

    /// How it is doing.
    pub(super) fn packets(&self) -> HeldPackets {
        let count = |state: &mut State| HeldPackets {
            waiting: state.waiting.len(),
            lost: state.waiting.lost,
        };
        self.look(count).unwrap_or_default()
    }

    fn look<T>(&self, work: impl FnOnce(&mut State) -> T) -> Option<T> {
        let running = self.running.lock();
        running.as_ref().map(|running| work(&mut running.desk.state.lock()))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let Some(Running { desk, thread }) = self.running.lock().take() else { return };
        desk.state.lock().is_ending = true;
        // It wakes up, and ends; if it cannot be woken, the process's end ends it.
        if desk.arm(Some(1)).is_ok() {
            let _ = thread.join();
        }
    }
}

impl Running {
    fn start() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let desk = Arc::new(Desk { epoll, timer, state: Mutex::default() });
        let work = Arc::clone(&desk);
        let thread = thread::Builder::new().name("holder".into()).spawn(move || {
            let _guard = AbortOnPanic;
            work.run();
        })?;
        Ok(Self { desk, thread })
    }
}

impl Desk {
    fn run(&self) {
        let mut buffer = Box::new([0; FRAME]);
        let mut events = [EpollEvent::empty(); 16];
        let mut armed = None;
        let mut told = Told::default();
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                // The devices would swallow everything. They end with the process, and packets pass then.
                Err(error) => {
                    tracing::error!(%error, "cannot see to the packets that wait; ending");
                    process::abort();
                }
            };
            let mut state = self.state.lock();
            if state.is_ending {
                return;
            }
            let mut has_fired = false;
            for event in &events[..count] {
                match event.data() {
                    TIMER => has_fired = true,
                    namespace => self.take_in(&mut state, namespace, &mut buffer),
                }
            }
            state.release(now_ns());
            told.tell(state.waiting.lost);
            let departure = state.waiting.next_departure();
            let next = departure.into_iter().chain(told.due_ns(state.waiting.lost)).min();
            if (has_fired || next != armed) && self.arm(next).is_ok() {
                armed = next;
            }
        }
    }

    /// Reads what was sent into a device.
    fn take_in(&self, state: &mut State, namespace: u64, buffer: &mut [u8; FRAME]) {
        let State { taps, waiting, .. } = state;
        let Some(tap) = taps.get(&namespace) else { return };
        for _ in 0..BATCH {
            match tap.read(buffer) {
                Ok(Some(read)) => {
                    if let Some(frame) = Frame::of(read, now_ns()) {
                        waiting.put(namespace, frame);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    // Somebody deleted the device; that is noticed elsewhere.
                    tracing::debug!(%error, namespace, "a device can no longer be read");
                    let _ = self.epoll.delete(tap);
                    return;
                }
            }
        }
    }

    /// Wakes the thread at a time of the monotonic clock, even if that is past, or not at all.
    fn arm(&self, at_ns: Option<u64>) -> nix::Result<()> {
        match at_ns {
            Some(at) => {
                let at = TimeSpec::from_duration(Duration::from_nanos(at.max(1)));
                self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            // Takes back what has fired, too.
            None => self.timer.unset(),
        }
    }
}

/// Tells of what is lost, though not of each packet.
#[derive(Default)]
struct Told {
    packets: u64,
    at_ns: Option<u64>,
}

impl Told {
    fn tell(&mut self, lost: u64) {
        if self.due_ns(lost).is_some_and(|due| due <= now_ns()) {
            tracing::warn!(packets = lost - self.packets, "packets that were to wait are lost");
            (self.packets, self.at_ns) = (lost, Some(now_ns()));
        }
    }

    /// When it is time, if there is something to tell.
    fn due_ns(&self, lost: u64) -> Option<u64> {
        let pause = COMPLAIN_EVERY.as_nanos() as u64;
        (lost > self.packets).then(|| self.at_ns.map_or(1, |at| at + pause))
    }
}

impl State {
    /// Sends back what is due.
    fn release(&mut self, now_ns: u64) {
        while let Some(Held { namespace, bytes, .. }) = self.waiting.take_due(now_ns) {
            let Some(tap) = self.taps.get(&namespace) else {
                self.waiting.lost += 1;
                continue;
            };
            if let Err(error) = tap.write(&bytes) {
                self.waiting.lost += 1;
                tracing::debug!(%error, namespace, "a packet that has waited is lost");
            }
        }
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| Duration::from(now).as_nanos() as u64)
}
