//! The process that answers for one rule, as the daemon has it.

use std::{
    fs,
    io::{self, IoSlice, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};
use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    HeldFiles, Tables,
    places::{Place, Scope},
    process::{NAME, Request},
};
use crate::kernel::RuleId;

/// For whom it holds them, as its second argument says.
const OF_DAEMON: &str = "daemon";
const OF_RUN: &str = "exec";

/// How long it may take to answer: it does nothing that waits.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Holder {
    child: Child,
    socket: UnixStream,
    /// It did not answer.
    is_mute: bool,
}

impl Holder {
    /// Starts one that is asked about nothing yet.
    pub(super) fn start(
        rule: RuleId,
        wanted: &HeldFiles,
        tables: &Tables<'_>,
        is_run: bool,
    ) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg0(NAME)
            .arg(rule.0.to_string())
            .arg(if is_run { OF_RUN } else { OF_DAEMON })
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let mut holder = Self { child, socket, is_mute: false };
        let handles = [tables.calls.as_raw_fd(), tables.lease.as_raw_fd()];
        holder.ask(&Request::begin(rule, &wanted.operations), &handles)?;
        Ok(holder)
    }

    /// Lets the kernel ask it about files.
    pub(super) fn mark(&mut self, place: &Place) -> io::Result<()> {
        let scope = match place.scope {
            Scope::File => Request::FILE,
            Scope::Directory => Request::DIRECTORY,
            Scope::Mount => Request::MOUNT,
        };
        self.ask(&Request::mark(scope), &[place.handle.as_raw_fd()])
    }

    /// Whether nothing is to be expected of it any more.
    pub(super) fn is_lost(&mut self) -> bool {
        self.is_mute || self.has_ended()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn ask(&mut self, request: &Request, handles: &[i32]) -> io::Result<()> {
        match self.answer(request, handles) {
            Ok(0) => Ok(()),
            Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
            Err(error) => {
                self.is_mute = true;
                Err(error)
            }
        }
    }

    /// Says what an errno says, or 0.
    fn answer(&mut self, request: &Request, handles: &[i32]) -> io::Result<i32> {
        let bytes = request.bytes();
        let rights = [ControlMessage::ScmRights(handles)];
        let flags = MsgFlags::MSG_NOSIGNAL;
        sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, flags, None)?;
        let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
        if poll(&mut waiting, patience)? == 0 {
            return Err(io::Error::other("the process that holds files does not answer"));
        }
        let mut answer = [0; 4];
        self.socket
            .read_exact(&mut answer)
            .map_err(|_| io::Error::other("the process that holds files has ended"))?;
        Ok(i32::from_ne_bytes(answer))
    }
}

/// Ends those of every daemon of this node, found by what they are. Runs of `chaos exec` keep theirs.
///
/// # Errors
/// When one cannot be ended; all others were.
pub(super) fn end_all() -> io::Result<()> {
    let processes = fs::read_dir("/proc")?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.map(end).fold(Ok(()), io::Result::and)
}

/// Ends a process if it is one.
fn end(pid: i32) -> io::Result<()> {
    let Some(pid) = Pid::from_raw(pid).filter(|pid| is_named(*pid)) else { return Ok(()) };
    // From here on it is no other, even if its number is given again.
    let ended = pidfd_open(pid, PidfdFlags::empty()).and_then(|process| {
        if is_holder(pid) { pidfd_send_signal(&process, Signal::KILL) } else { Ok(()) }
    });
    match ended {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// By its words, which anybody could have.
fn is_named(pid: Pid) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0);
    words.next() == Some(NAME.as_bytes()) && words.nth(1) == Some(OF_DAEMON.as_bytes())
}

/// By the group that it answers for besides, and as it is root's.
fn is_holder(pid: Pid) -> bool {
    let is_of_root = fs::metadata(format!("/proc/{pid}")).is_ok_and(|process| process.uid() == 0);
    let mut open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    is_of_root
        && is_named(pid)
        && open.any(|entry| {
            fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[fanotify]")
        })
}

impl Drop for Holder {
    /// With it the kernel lets everybody go on.
    fn drop(&mut self) {
        let _ = self.child.kill();
        for _ in 0..100 {
            if self.has_ended() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // It is in the kernel's hands, waiting for a disk or the like. Nobody here waits for it.
        tracing::warn!(pid = self.child.id(), "a process that holds files has not ended yet");
    }
}
