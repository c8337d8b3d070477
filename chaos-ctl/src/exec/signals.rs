//! Signals that reach us and are meant for the command.

use std::process::ExitCode;

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::child::Child;

const FORWARDED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGCONT,
];

/// The signals of this process, taken over.
pub(super) struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Blocks them in this thread and in all that it makes.
    pub(super) fn block() -> nix::Result<Self> {
        let mut set: SigSet = FORWARDED.into_iter().collect();
        set.add(Signal::SIGCHLD);
        set.thread_block()?;
        Ok(Self { fd: SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)? })
    }

    /// Passes them on until the command ends.
    pub(super) fn wait_for(&self, child: &mut Child) -> anyhow::Result<ExitCode> {
        loop {
            if let Some(code) = child.try_wait().context("cannot wait for the command")? {
                return Ok(code);
            }
            match self.fd.read_signal() {
                Ok(Some(info)) => {
                    // What a terminal sends goes to the whole foreground: the command has it already.
                    let is_from_terminal = info.ssi_code > 0;
                    let signal = Signal::try_from(info.ssi_signo as i32);
                    if let Ok(signal) = signal
                        && signal != Signal::SIGCHLD
                        && !is_from_terminal
                    {
                        child.signal(signal);
                    }
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot read the signals"),
            }
        }
    }
}
