//! The process that answers for one rule, as the daemon has it.

use std::{
    fs,
    io::{self, IoSlice, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal, kill},
        socket::{ControlMessage, MsgFlags, sendmsg},
    },
    unistd::Pid,
};

use super::{
    HeldFiles, Tables,
    marks::{Place, Scope},
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
        let mut holder = Self { child, socket };
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

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn ask(&mut self, request: &Request, handles: &[i32]) -> io::Result<()> {
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
        match i32::from_ne_bytes(answer) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Ends those of every daemon of this node, found by what they are. Runs of `chaos exec` keep theirs.
///
/// # Errors
/// When one cannot be ended; all others were.
pub(super) fn end_all() -> io::Result<()> {
    let processes = fs::read_dir("/proc")?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ended = pids.filter(|pid| is_holder(*pid)).map(|pid| {
        match kill(Pid::from_raw(pid), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    });
    ended.fold(Ok(()), io::Result::and)
}

/// By its words, which anybody could have, and by the group that it answers for, which root alone has.
fn is_holder(pid: i32) -> bool {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0);
    let is_named = words.next() == Some(NAME.as_bytes());
    if !is_named || words.nth(1) != Some(OF_DAEMON.as_bytes()) {
        return false;
    }
    let mut open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.any(|entry| {
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
