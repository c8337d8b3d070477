//! The process that answers for one rule, as the daemon has it.

use std::{
    io::{self, IoSlice, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{ControlMessage, MsgFlags, sendmsg},
};

use super::{
    HeldFiles, Tables,
    marks::{Place, Scope},
    process::{NAME, Request},
};
use crate::kernel::RuleId;

/// How long it may take to answer: it does nothing that waits.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Holder {
    child: Child,
    socket: UnixStream,
}

impl Holder {
    /// Starts one that is asked about nothing yet.
    pub(super) fn start(rule: RuleId, wanted: &HeldFiles, tables: &Tables<'_>) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg0(NAME)
            .arg(rule.0.to_string())
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

impl Drop for Holder {
    /// With it the kernel lets everybody go on.
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!(%error, "a process that holds files could not be ended");
        }
    }
}
