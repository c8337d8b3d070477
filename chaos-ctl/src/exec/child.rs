//! The command's process: made, held at a gate, let go.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, PipeReader, PipeWriter, Read as _, Write as _},
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{ChildStderr, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
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

/// As long as a program takes to begin where there is little to do it with.
const PATIENCE: Duration = Duration::from_secs(30);

/// As shells have it.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// The command's process.
pub(crate) struct Child {
    process: std::process::Child,
    gate: Option<PipeWriter>,
}

impl Child {
    /// Makes the process; it waits before it becomes the command, and makes no call meanwhile.
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
        let (held, gate) = io::pipe().context("cannot make a pipe")?;
        let (arrived, arrival) = io::pipe().context("cannot make a pipe")?;
        let own = env::current_exe().context("cannot find our own program")?;
        let mut process = Command::new(own);
        process.arg(HOLD).arg(shared(&held)?).arg(shared(&arrival)?).args(command);
        shape(&mut process);
        let process = process.spawn().context("cannot start the command")?;
        // Of the two ends that are its own, so that its death is seen.
        drop((held, arrival));
        let mut child = Self { process, gate: Some(gate) };
        if let Err(error) = child.see_held(arrived) {
            child.abandon();
            return Err(error);
        }
        Ok(child)
    }

    /// Waits until it waits. Until then it makes calls, which a fault would take for the command's.
    fn see_held(&self, mut arrived: PipeReader) -> anyhow::Result<()> {
        let mut byte = [0];
        let count = arrived.read(&mut byte).context("cannot read from a pipe")?;
        ensure!(count == 1, "the command is gone before it began");
        let file = format!("/proc/{}/stat", self.process.id());
        let end = Instant::now() + PATIENCE;
        loop {
            let stat = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
            match stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next()) {
                // Of all that it still does, only reading from the gate lets it sleep.
                Some('S') => return Ok(()),
                Some('Z' | 'X') | None => bail!("the command is gone before it began"),
                Some(_) => ensure!(Instant::now() < end, "the command does not begin"),
            }
            thread::sleep(Duration::from_micros(200));
        }
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

/// The number by which a child has this descriptor too.
fn shared<F: AsFd + AsRawFd>(file: &F) -> anyhow::Result<String> {
    fcntl(file.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("cannot share a pipe")?;
    Ok(file.as_raw_fd().to_string())
}

/// The end of the run as this program's exit code.
fn code(status: ExitStatus) -> ExitCode {
    let number = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(number).unwrap_or(1))
}

/// The other side of the gate: the whole life of a process that [`Child::start`] made, until it becomes
/// the command. None in any other process.
pub(crate) fn held(words: &[OsString]) -> Option<ExitCode> {
    let [_, word, gate, arrival, command @ ..] = words else { return None };
    if word != HOLD {
        return None;
    }
    let number = |word: &OsString| word.to_str()?.parse().ok();
    Some(match (number(gate), number(arrival)) {
        (Some(gate), Some(arrival)) => hold(gate, arrival, command),
        (_, _) => ExitCode::FAILURE,
    })
}

/// Says that it is there, waits, then becomes the command. Returns only if that fails.
///
/// Faults begin while it waits, so what it does after that is as little as can be: a fault that counts calls begins
/// to count here.
fn hold(gate: RawFd, arrival: RawFd, command: &[OsString]) -> ExitCode {
    let Some((program, args)) = command.split_first() else { return ExitCode::FAILURE };
    let mut command = Command::new(program);
    command.args(args);
    if !matches!(pass(gate, arrival), Ok(1)) {
        // The other side gave up and has said why.
        return ExitCode::FAILURE;
    }
    let _ = SigSet::empty().thread_set_mask();
    let error = command.exec();
    say(format_args!("chaos: cannot run {}: {error}", clean(&program.to_string_lossy())));
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUNNABLE })
}

/// Waits at the gate. 1 if it was opened.
fn pass(gate: RawFd, arrival: RawFd) -> io::Result<usize> {
    let path = |number| format!("/proc/self/fd/{number}");
    // What is opened goes with `exec`, while what was inherited would not.
    let (opened, mut arrived) =
        (File::open(path(gate))?, OpenOptions::new().write(true).open(path(arrival))?);
    let _ = (close(gate), close(arrival));
    let mut gate = ManuallyDrop::new(opened);
    arrived.write_all(b"a")?;
    // Not closed before: that would be a call that nobody waits for.
    let _open = ManuallyDrop::new(arrived);
    gate.read(&mut [0])
}
