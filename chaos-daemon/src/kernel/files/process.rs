//! The process that answers for one rule, from the inside.
//!
//! It opens nothing by a path but in `/proc`, which nobody watches, so that it never waits for itself. It ends with the daemon, with the daemon's lease, and,
//! should it be stopped or stuck, by a timer of the kernel's that it has to wind up again and again.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    ffi::OsString,
    io::{self, IoSliceMut, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    process::ExitCode,
    time::Duration,
};

use aya::maps::{Array, HashMap, Map, MapData};
use chaos_common::abi::{HeldCall, Operation, Wait};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        fanotify::{
            EventFFlags, Fanotify, FanotifyEvent, InitFlags, MarkFlags, MaskFlags, Response,
        },
        resource::{Resource, getrlimit, setrlimit},
        signal::{SigEvent, SigHandler, SigevNotify, Signal, signal},
        socket::{ControlMessageOwned, MsgFlags, recvmsg},
        time::TimeSpec,
        timer::{Expiration, Timer, TimerSetTimeFlags},
    },
    time::ClockId,
    unistd::write,
};

use super::view::by_descriptor;
use crate::{boot_clock::BootTime, kernel::RuleId};

/// By this name of its program a process knows that it is one.
pub(super) const NAME: &str = "chaos-file-holder";
/// Before something is read or written (Linux 6.14).
const PRE_ACCESS: MaskFlags = MaskFlags::from_bits_retain(0x0010_0000);
/// How long it may do nothing before the kernel ends it.
const STUCK: Duration = Duration::from_secs(5);
/// How often it looks whether the daemon lives.
const BEAT: Duration = Duration::from_secs(1);

/// Descriptors for what does not wait: a buffer full of questions, and what else it has open.
const RESERVE: usize = 256;

/// What the daemon asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    word: u32,
    rule: u32,
    /// Bits of [`Operation`].
    operations: u64,
}

impl Request {
    const BEGIN: u32 = 0;
    pub(super) const FILE: u32 = 1;
    pub(super) const DIRECTORY: u32 = 2;
    pub(super) const MOUNT: u32 = 3;
    const SIZE: usize = 16;

    /// With the tables as handles.
    pub(super) fn begin(rule: RuleId, operations: &BTreeSet<Operation>) -> Self {
        let operations = operations.iter().fold(0, |bits, operation| bits | operation.bit());
        Self { word: Self::BEGIN, rule: rule.0, operations }
    }

    /// With a handle of what is to be marked.
    pub(super) fn mark(scope: u32) -> Self {
        Self { word: scope, rule: 0, operations: 0 }
    }

    pub(super) fn bytes(self) -> [u8; Self::SIZE] {
        let [word, rule] = [self.word, self.rule].map(u64::from);
        (u128::from(word << 32 | rule) << 64 | u128::from(self.operations)).to_ne_bytes()
    }

    fn of(bytes: [u8; Self::SIZE]) -> Self {
        let bits = u128::from_ne_bytes(bytes);
        Self { word: (bits >> 96) as u32, rule: (bits >> 64) as u32, operations: bits as u64 }
    }

    fn has(self, operation: Operation) -> bool {
        self.operations & operation.bit() != 0
    }
}

/// The whole life of a process that was started for this; none in any other. To be asked first in `main`.
#[must_use]
pub fn main(words: &[OsString]) -> Option<ExitCode> {
    if words.first().is_none_or(|word| word != NAME) {
        return None;
    }
    Some(match Process::begin().and_then(Process::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

struct Process {
    group: Fanotify,
    events: MaskFlags,
    rule: u32,
    calls: HashMap<MapData, HeldCall, Wait>,
    lease: Array<MapData, u64>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// The most that wait: each takes a descriptor.
    most: usize,
    socket: OwnedFd,
    timer: Timer,
}

/// A call that waits.
struct Waiting {
    until: BootTime,
    event: FanotifyEvent,
}

impl Process {
    fn begin() -> io::Result<Self> {
        // Its end is the daemon's to say.
        for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
            // SAFETY: to ignore a signal runs no handler.
            unsafe { signal(ignored, SigHandler::SigIgn)? };
        }
        // The kernel hands over a descriptor with each question.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(RESERVE);
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        let (request, handles) = receive(&socket)?.ok_or(Errno::EPIPE)?;
        let begun = Self::of(&socket, request, handles, most);
        let errno = begun.as_ref().map_or_else(errno, |_| 0);
        answer(&socket, errno)?;
        begun
    }

    fn of(
        socket: &OwnedFd,
        request: Request,
        handles: Vec<OwnedFd>,
        most: usize,
    ) -> io::Result<Self> {
        let [calls, lease]: [OwnedFd; 2] = handles.try_into().map_err(|_| Errno::EBADF)?;
        let (group, events) = group(
            request.has(Operation::Open),
            request.has(Operation::Read),
            request.has(Operation::Write),
        )?;
        let mut timer = Timer::new(
            ClockId::CLOCK_MONOTONIC,
            SigEvent::new(SigevNotify::SigevSignal { signal: Signal::SIGKILL, si_value: 0 }),
        )?;
        wind(&mut timer)?;
        let map = |handle| MapData::from_fd(handle).map_err(io::Error::other);
        Ok(Self {
            group,
            events,
            rule: request.rule,
            calls: Map::LruHashMap(map(calls)?).try_into().map_err(io::Error::other)?,
            lease: Map::Array(map(lease)?).try_into().map_err(io::Error::other)?,
            waiting: BinaryHeap::new(),
            most,
            socket: socket.try_clone()?,
            timer,
        })
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            wind(&mut self.timer)?;
            let now = BootTime::now();
            if now.nanos() >= self.lease.get(&0, 0).map_err(io::Error::other)? {
                return Ok(());
            }
            self.let_go(now)?;
            let next = self.waiting.peek().map_or(BEAT, |Reverse(next)| next.until.since(now));
            let mut sources = [
                PollFd::new(self.group.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
            ];
            match ppoll(&mut sources, Some(TimeSpec::from_duration(next.min(BEAT))), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let [is_asked, is_told] = sources.map(|source| source.any().unwrap_or(true));
            if is_asked {
                self.hear()?;
            }
            if is_told && !self.obey()? {
                return Ok(());
            }
        }
    }

    /// Takes the kernel's questions.
    fn hear(&mut self) -> io::Result<()> {
        let events = match self.group.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            // There is no such group any more, or this is a bug.
            Err(errno @ (Errno::EBADF | Errno::EFAULT | Errno::EINVAL)) => return Err(errno.into()),
            // A file that this process cannot open, as one that somebody has a lease on. The kernel has answered by itself,
            // and let nobody open it.
            Err(_) => return Ok(()),
        };
        for event in events {
            let call = HeldCall { rule: self.rule, thread: event.pid() as u32 };
            // Of others, and of what does not fire, nothing is in the table.
            let wait = self.calls.get(&call, 0).ok();
            if wait.is_some() {
                let _ = self.calls.remove(&call);
            }
            let wait = wait.filter(|wait| is_of(call.thread, wait));
            let until = wait.map(|wait| BootTime::from_nanos(wait.until_ns));
            let has_room = self.waiting.len() < self.most;
            match until.filter(|until| has_room && *until > BootTime::now()) {
                Some(until) => self.waiting.push(Reverse(Waiting { until, event })),
                None => self.allow(event)?,
            }
        }
        Ok(())
    }

    /// Lets those go on whose time has come.
    fn let_go(&mut self, now: BootTime) -> io::Result<()> {
        while let Some(Reverse(next)) = self.waiting.peek() {
            if next.until > now {
                return Ok(());
            }
            if let Some(Reverse(next)) = self.waiting.pop() {
                self.allow(next.event)?;
            }
        }
        Ok(())
    }

    /// The kernel knows a question by the number of its descriptor, and that is closed first: nobody shall find the file
    /// open here.
    fn allow(&self, event: FanotifyEvent) -> io::Result<()> {
        let Some(fd) = event.fd().map(|handle| handle.as_raw_fd()) else { return Ok(()) };
        drop(event);
        let mut answer = [0; 8];
        answer[..4].copy_from_slice(&fd.to_ne_bytes());
        answer[4..].copy_from_slice(&Response::FAN_ALLOW.bits().to_ne_bytes());
        match write(&self.group, &answer).map(drop) {
            // Whoever asked was killed meanwhile.
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Does what the daemon asks. False when there is no daemon any more.
    fn obey(&mut self) -> io::Result<bool> {
        let Some((request, handles)) = receive(&self.socket)? else { return Ok(false) };
        let marked = handles.first().ok_or(Errno::EBADF).and_then(|handle| {
            let (flags, events) = match request.word {
                Request::MOUNT => (MarkFlags::FAN_MARK_MOUNT, self.events),
                Request::DIRECTORY => {
                    (MarkFlags::empty(), self.events | MaskFlags::FAN_EVENT_ON_CHILD)
                }
                _ => (MarkFlags::empty(), self.events),
            };
            let (directory, path) = by_descriptor(handle.as_raw_fd());
            let flags = MarkFlags::FAN_MARK_ADD | flags;
            self.group.mark(flags, events, directory, Some(path.as_str()))
        });
        answer(&self.socket, marked.err().map_or(0, |errno| errno as i32))?;
        Ok(true)
    }
}

/// A group that is asked before files are opened, read and written, and the events for these.
pub(super) fn group(opens: bool, reads: bool, writes: bool) -> nix::Result<(Fanotify, MaskFlags)> {
    let class =
        if writes { InitFlags::FAN_CLASS_PRE_CONTENT } else { InitFlags::FAN_CLASS_CONTENT };
    let flags = class
        | InitFlags::FAN_CLOEXEC
        | InitFlags::FAN_NONBLOCK
        | InitFlags::FAN_UNLIMITED_QUEUE
        | InitFlags::FAN_UNLIMITED_MARKS
        | InitFlags::FAN_REPORT_TID;
    // A pipe with a name would keep this process.
    let files = EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC | EventFFlags::O_NONBLOCK;
    let events = [
        (opens, MaskFlags::FAN_OPEN_PERM),
        (reads, MaskFlags::FAN_ACCESS_PERM),
        (writes, PRE_ACCESS),
    ];
    let events = events.into_iter().filter(|(wanted, _)| *wanted).map(|(_, event)| event).collect();
    Ok((Fanotify::init(flags, files)?, events))
}

/// Whether it is of the thread that has this number now. If that cannot be told it goes on.
fn is_of(thread: u32, wait: &Wait) -> bool {
    let second = Duration::from_secs(1).as_nanos() as u64;
    let began = procfs::process::Process::new(thread as i32).and_then(|thread| thread.stat());
    began.is_ok_and(|stat| stat.starttime == wait.began_ns / (second / procfs::ticks_per_second()))
}

fn wind(timer: &mut Timer) -> nix::Result<()> {
    let after = Expiration::OneShot(TimeSpec::from_duration(STUCK));
    timer.set(after, TimerSetTimeFlags::empty())
}

/// The next request and its handles; `None` when nobody is there to make one.
fn receive(socket: &OwnedFd) -> io::Result<Option<(Request, Vec<OwnedFd>)>> {
    let mut bytes = [0; Request::SIZE];
    let mut space = nix::cmsg_space!([i32; 2]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_WAITALL;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let mut handles = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            // SAFETY: the kernel has just made these descriptors for this process, and nobody else knows them.
            handles.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    let is_whole = message.bytes == Request::SIZE;
    Ok(is_whole.then(|| (Request::of(bytes), handles)))
}

fn answer(socket: &OwnedFd, errno: i32) -> io::Result<()> {
    std::fs::File::from(socket.try_clone()?).write_all(&errno.to_ne_bytes())
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(Errno::EIO as i32)
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_arrive_as_they_were_sent() {
        let operations = [Operation::Open, Operation::Write].into();
        for request in [Request::begin(RuleId(7), &operations), Request::mark(Request::MOUNT)] {
            assert_eq!(Request::of(request.bytes()), request);
        }
        let begun = Request::of(Request::begin(RuleId(7), &operations).bytes());
        assert!(begun.has(Operation::Write) && !begun.has(Operation::Read) && begun.rule == 7);
    }
}
