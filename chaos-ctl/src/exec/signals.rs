//! Signals that reach us and are meant for the command.
//!
//! Whatever is sent to this process goes on to the command, but for
//! - SIGKILL and SIGSTOP, which nobody can take over,
//! - SIGILL, SIGSEGV, SIGBUS and SIGFPE, by which this program ends if it is broken,
//! - SIGCHLD, which is about the command,
//! - 32 and 33, which C libraries need for themselves,
//! - what the command has already: a terminal sends to its whole foreground, a command to its own group.

use std::{io, os::fd::AsFd as _, process, process::ExitCode, time::Duration};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    libc::{self, c_int, signalfd_siginfo},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, raise},
        signalfd::SignalFd,
    },
    unistd::{Pid, getpid, getsid},
};

use super::{by_number::Set, child::Child};

const LEFT_ALONE: [c_int; 8] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGILL,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    // Threads begin with these unblocked, whatever we ask for: pthread_cancel(3), nptl(7).
    32,
    33,
];

/// What a terminal sends to its whole foreground.
const OF_TERMINALS: [c_int; 8] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
    libc::SIGHUP,
    libc::SIGCONT,
];

const JOB_CONTROL: [Signal; 3] = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU];

/// What ends a run that has no command to pass it on to.
const ENDING: [c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The signals of this process, taken over.
pub(crate) struct Signals {
    fd: SignalFd,
    me: Sender,
}

/// Who we are to those who send signals.
#[derive(Clone, Copy, Debug)]
struct Sender {
    pid: u32,
    /// A terminal that hangs up tells the leader of its session alone: `tty_signal_session_leader`.
    leads_session: bool,
}

/// A signal as it came.
#[derive(Clone, Copy, Debug)]
struct Came {
    number: c_int,
    /// `si_code`: the kernel's own are above 0.
    code: i32,
    /// Who sent it.
    pid: u32,
}

impl From<signalfd_siginfo> for Came {
    fn from(info: signalfd_siginfo) -> Self {
        Self { number: info.ssi_signo as c_int, code: info.ssi_code, pid: info.ssi_pid }
    }
}

/// What to do about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The command gets it.
    Pass,
    /// It is not for the command, or there already.
    Drop,
}

impl Signals {
    /// Blocks them in this thread and in all that it makes.
    pub(crate) fn block() -> io::Result<Self> {
        let set = Set::all_but(&LEFT_ALONE);
        set.block()?;
        let leads_session = getsid(None)? == getpid();
        Ok(Self { fd: set.fd()?, me: Sender { pid: process::id(), leads_session } })
    }

    /// Waits for any, for so long at most. The number of one that asks this program to end; all others say nothing.
    pub(crate) fn end_within(&self, patience: Duration) -> anyhow::Result<Option<c_int>> {
        // Rounded up, so that it is over when we wake.
        let patience = patience.as_millis().saturating_add(1);
        let patience = i32::try_from(patience).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno).context("cannot wait for signals"),
        }
        match self.fd.read_signal() {
            Ok(info) => Ok(info.map(|info| Came::from(info).number).filter(|n| ENDING.contains(n))),
            Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno).context("cannot read the signals"),
        }
    }

    /// Passes them on until the command ends. Stops when job control stops the command: its shell waits
    /// for both.
    pub(super) fn wait_for(&self, child: &mut Child) -> anyhow::Result<ExitCode> {
        loop {
            if let Some(code) = child.try_wait().context("cannot wait for the command")? {
                return Ok(code);
            }
            if let Some(signal) = child.stopped_by() {
                stop_by(signal).context("cannot stop with the command")?;
            }
            match self.fd.read_signal() {
                Ok(Some(info)) => {
                    let came = Came::from(info);
                    match fate(came, self.me, child.pid()) {
                        Fate::Pass => child.signal(came.number),
                        Fate::Drop => {}
                    }
                }
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot read the signals"),
            }
        }
    }
}

fn fate(came: Came, me: Sender, command: Pid) -> Fate {
    let Came { number, code, pid } = came;
    let is_from_kernel = code > 0;
    let is_for_me_alone = me.leads_session && [libc::SIGHUP, libc::SIGCONT].contains(&number);
    let is_from_terminal = is_from_kernel && OF_TERMINALS.contains(&number) && !is_for_me_alone;
    // Writing to a pipe that is closed makes us send SIGPIPE to ourselves.
    let is_of_us = !is_from_kernel && [me.pid, command.as_raw() as u32].contains(&pid);
    if number == libc::SIGCHLD || is_from_terminal || is_of_us { Fate::Drop } else { Fate::Pass }
}

/// Stops this process as a signal of job control would have, had it not been blocked, until it is
/// continued. SIGSTOP is none: who sends it to the command will let it go on without telling us.
fn stop_by(signal: Signal) -> nix::Result<()> {
    if !JOB_CONTROL.contains(&signal) {
        return Ok(());
    }
    let only: SigSet = [signal].into_iter().collect();
    raise(signal)?;
    only.thread_unblock()?;
    only.thread_block()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: Sender = Sender { pid: 10, leads_session: false };
    const COMMAND: i32 = 11;
    /// `SI_USER` and `SI_KERNEL`.
    const USER: i32 = 0;
    const KERNEL: i32 = 0x80;

    fn fate_of(number: c_int, code: i32, pid: u32, me: Sender) -> Fate {
        fate(Came { number, code, pid }, me, Pid::from_raw(COMMAND))
    }

    #[test]
    fn what_somebody_sends_goes_on() {
        for number in (1..=64).filter(|number| *number != libc::SIGCHLD) {
            assert_eq!(fate_of(number, USER, 1, ME), Fate::Pass, "{number}");
        }
        assert_eq!(fate_of(libc::SIGCHLD, USER, 1, ME), Fate::Drop);
    }

    #[test]
    fn what_the_command_has_already_does_not() {
        for number in OF_TERMINALS {
            assert_eq!(fate_of(number, KERNEL, 0, ME), Fate::Drop, "{number}");
        }
        assert_eq!(fate_of(libc::SIGTERM, USER, COMMAND as u32, ME), Fate::Drop);
        assert_eq!(fate_of(libc::SIGPIPE, USER, ME.pid, ME), Fate::Drop);
    }

    #[test]
    fn what_the_kernel_tells_us_alone_goes_on() {
        // alarm(2) outlives execve(2).
        assert_eq!(fate_of(libc::SIGALRM, KERNEL, 0, ME), Fate::Pass);
        let leader = Sender { leads_session: true, ..ME };
        assert_eq!(fate_of(libc::SIGHUP, KERNEL, 0, leader), Fate::Pass);
        assert_eq!(fate_of(libc::SIGINT, KERNEL, 0, leader), Fate::Drop);
    }
}
