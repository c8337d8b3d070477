//! Child processes. Each is in a process group of its own, so that Ctrl-C reaches the demo alone, which then ends
//! them in order.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process that is ended with the value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    parting: Signal,
}

impl Process {
    /// Starts one. `parting` is what ends it.
    pub(crate) fn start(command: &mut Command, parting: Signal) -> Result<Self> {
        command.stdin(Stdio::null()).process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, parting })
    }

    /// This very program, in another role.
    pub(crate) fn own(role: &str) -> Result<Command> {
        let mut command =
            Command::new(std::env::current_exe().context("cannot find the own program")?);
        command.arg(role);
        Ok(command)
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, if it was piped.
    pub(crate) fn stdout(&mut self) -> Result<std::process::ChildStdout> {
        self.child.stdout.take().context("a process was started without a pipe")
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it and waits; kills it when that takes too long.
    pub(crate) fn end(&mut self, patience: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        // It may just have ended.
        let _ = kill(Pid::from_raw(i32::try_from(self.pid())?), self.parting);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.end(Duration::from_secs(5)) {
            eprintln!("chaos-demo: cannot end process {}: {error:#}", self.pid());
        }
    }
}
