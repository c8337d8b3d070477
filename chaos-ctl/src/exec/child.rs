//! The command's process: made, held at a gate, let go.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, PipeWriter, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::Context as _;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    libc::c_int,
    sys::{
        signal::{SigSet, Signal},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::{Pid, close},
};

use super::{by_number::kill, say};
use crate::output::clean;

/// The first word of a process that is to wait at the gate. No verb: nobody but [`Child::start`] says it.
const HOLD: &str = "__hold";

/// As shells have it.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// The command's process.
pub(super) struct Child {
    process: std::process::Child,
    gate: Option<PipeWriter>,
}

impl Child {
    /// Makes the process; it waits before it becomes the command.
    pub(super) fn start(command: &[OsString]) -> anyhow::Result<Self> {
        let (reader, gate) = io::pipe().context("cannot make a pipe")?;
        fcntl(reader.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("cannot share a pipe")?;
        let own = env::current_exe().context("cannot find our own program")?;
        let process = Command::new(own)
            .arg(HOLD)
            .arg(reader.as_raw_fd().to_string())
            .args(command)
            .spawn()
            .context("cannot start the command")?;
        Ok(Self { process, gate: Some(gate) })
    }

    pub(super) fn pid(&self) -> Pid {
        // Linux pids are positive and have at most 22 bits.
        Pid::from_raw(self.process.id() as i32)
    }

    /// Lets it become the command.
    pub(super) fn release(&mut self) -> anyhow::Result<()> {
        if let Some(mut gate) = self.gate.take() {
            gate.write_all(b"g").context("the command is gone before it began")?;
        }
        Ok(())
    }

    /// Ends it without its having become the command.
    pub(super) fn abandon(&mut self) {
        self.gate = None;
        let _ = self.process.wait();
    }

    /// Its status, if it has ended.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitCode>> {
        Ok(self.process.try_wait()?.map(code))
    }

    /// The signal that has stopped it, told once for each stop.
    pub(super) fn stopped_by(&self) -> Option<Signal> {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.pid()), flags) {
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
            Ok(_) | Err(_) => None,
        }
    }

    /// Sends it the signal of this number.
    pub(super) fn signal(&self, number: c_int) {
        // It may have ended just now.
        let _ = kill(self.pid(), number);
    }
}

/// The end of the run as this program's exit code.
fn code(status: ExitStatus) -> ExitCode {
    let number = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}

/// The other side of the gate: the whole life of a process that [`Child::start`] made, until it becomes
/// the command. None in any other process.
pub(crate) fn held(words: &[OsString]) -> Option<ExitCode> {
    let [_, word, gate, command @ ..] = words else { return None };
    if word != HOLD {
        return None;
    }
    Some(match gate.to_str().and_then(|gate| gate.parse().ok()) {
        Some(gate) => hold(gate, command),
        None => ExitCode::FAILURE,
    })
}

/// Waits, then becomes the command. Returns only if that fails.
fn hold(gate: i32, command: &[OsString]) -> ExitCode {
    let mut byte = [0];
    let opened =
        File::open(format!("/proc/self/fd/{gate}")).and_then(|mut file| file.read(&mut byte));
    // The command shall not inherit it.
    let _ = close(gate);
    if !matches!(opened, Ok(1)) {
        // The other side gave up and has said why.
        return ExitCode::FAILURE;
    }
    let _ = SigSet::empty().thread_set_mask();
    let Some((program, args)) = command.split_first() else { return ExitCode::FAILURE };
    let error = Command::new(program).args(args).exec();
    say(format_args!("chaos: cannot run {}: {error}", clean(&program.to_string_lossy())));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE })
}
