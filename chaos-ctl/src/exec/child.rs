//! The command's process: made, held at a gate, let go.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, PipeWriter, Read as _, Write as _},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{ChildStderr, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};
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
pub(crate) struct Child {
    process: std::process::Child,
    gate: Option<PipeWriter>,
}

impl Child {
    /// Makes the process; it waits before it becomes the command.
    pub(super) fn start(command: &[OsString]) -> anyhow::Result<Self> {
        Self::spawn(command, |_| ())
    }

    /// The same for one that nobody talks to: it has no input, what it says goes into pipes, and the terminal
    /// sends it no signals. It has these variables in its environment besides.
    pub(crate) fn unattended(
        command: &[OsString],
        variables: &[(&str, String)],
    ) -> anyhow::Result<(Self, ChildStdout, ChildStderr)> {
        let mut child = Self::spawn(command, |process| {
            process.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            process.process_group(0).envs(variables.iter().map(|(name, value)| (name, value)));
        })?;
        match (child.process.stdout.take(), child.process.stderr.take()) {
            (Some(out), Some(err)) => Ok((child, out, err)),
            (_, _) => {
                child.abandon();
                bail!("the command has no pipes")
            }
        }
    }

    fn spawn(command: &[OsString], shape: impl FnOnce(&mut Command)) -> anyhow::Result<Self> {
        let (reader, gate) = io::pipe().context("cannot make a pipe")?;
        fcntl(reader.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("cannot share a pipe")?;
        let own = env::current_exe().context("cannot find our own program")?;
        let mut process = Command::new(own);
        process.arg(HOLD).arg(reader.as_raw_fd().to_string()).args(command);
        shape(&mut process);
        let process = process.spawn().context("cannot start the command")?;
        Ok(Self { process, gate: Some(gate) })
    }

    pub(crate) fn pid(&self) -> Pid {
        // Linux pids are positive and have at most 22 bits.
        Pid::from_raw(self.process.id() as i32)
    }

    /// Lets it become the command.
    pub(crate) fn release(&mut self) -> anyhow::Result<()> {
        if let Some(mut gate) = self.gate.take() {
            gate.write_all(b"g").context("the command is gone before it began")?;
        }
        Ok(())
    }

    /// Ends it without its having become the command.
    pub(crate) fn abandon(&mut self) {
        self.gate = None;
        let _ = self.process.wait();
    }

    /// Its status, if it has ended.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitCode>> {
        Ok(self.try_status()?.map(code))
    }

    /// The same as the kernel has it.
    pub(crate) fn try_status(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
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
///
/// Faults begin while it waits, so what it does after that is as little as can be: a fault that counts calls begins
/// to count here.
fn hold(gate: i32, command: &[OsString]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::FAILURE };
    let mut command = Command::new(program);
    command.args(args);
    // It goes with `exec`, while what was inherited would not.
    let opened = File::open(format!("/proc/self/fd/{gate}"));
    let _ = close(gate);
    let mut byte = [0];
    let opened = opened.and_then(|gate| ManuallyDrop::new(gate).read(&mut byte));
    if !matches!(opened, Ok(1)) {
        // The other side gave up and has said why.
        return ExitCode::FAILURE;
    }
    let _ = SigSet::empty().thread_set_mask();
    let error = command.exec();
    say(format_args!("chaos: cannot run {}: {error}", clean(&program.to_string_lossy())));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE })
}
