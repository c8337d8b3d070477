//! What a run says about the command: decided over plain facts.

use std::{fmt, os::unix::process::ExitStatusExt as _, process::ExitStatus};

use nix::sys::signal::Signal;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this code.
    Code(i32),
    /// By the signal of this number.
    Signal(i32),
    /// Not in time; it was killed.
    Timeout,
}

/// What the check said of a run's traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    /// Nobody checks.
    Not,
    /// All is as it should be.
    Good,
    /// It is not.
    Bad,
}

/// Whether the fault happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// A call failed.
    Yes,
    /// The command made fewer calls.
    No,
}

/// What is known of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) hit: Hit,
    pub(crate) end: End,
    pub(crate) checked: Checked,
    pub(crate) process: Process,
}

/// What has become of the running process that is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// It lives, or there is none.
    Fine,
    /// It has ended.
    Gone,
}

/// What to hold a run against.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// The command's exit code without the fault.
    pub(crate) baseline: i32,
    /// The codes with which it may end when a call has failed; empty is any but a success that the baseline was not.
    pub(crate) codes: Vec<u8>,
}

/// What became of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The command ended as if nothing had happened.
    Ok,
    /// It ended by itself with another code: it said that something went wrong.
    Failed,
    /// A signal ended it, or the process that is swept.
    Crash,
    /// It did not end in time.
    Hang,
    /// It ended by itself, and the check failed.
    DataLost,
    /// It ended by itself with a code that it should not end with.
    WrongExit,
    /// It did not make so many calls.
    NotReached,
}

impl Verdict {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failed,
        Self::Crash,
        Self::Hang,
        Self::DataLost,
        Self::WrongExit,
        Self::NotReached,
    ];

    /// The first that holds.
    pub(crate) fn of(facts: Facts, expected: &Expected) -> Self {
        let Facts { hit, end, checked, process } = facts;
        if hit == Hit::No {
            return Self::NotReached;
        }
        if process == Process::Gone {
            return Self::Crash;
        }
        match end {
            End::Timeout => Self::Hang,
            End::Signal(_) => Self::Crash,
            End::Code(code) if expected.is_crash(code) => Self::Crash,
            End::Code(_) if checked == Checked::Bad => Self::DataLost,
            End::Code(code) if !expected.allows(code) => Self::WrongExit,
            End::Code(code) if code == expected.baseline => Self::Ok,
            End::Code(_) => Self::Failed,
        }
    }

    /// Whether somebody should look at it.
    pub(crate) const fn is_found(self) -> bool {
        match self {
            Self::Crash | Self::Hang | Self::DataLost | Self::WrongExit => true,
            Self::Ok | Self::Failed | Self::NotReached => false,
        }
    }

    /// For people.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::DataLost => "data lost",
            Self::WrongExit => "wrong exit",
            Self::NotReached => "not reached",
        }
    }

    /// For programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::DataLost => "dataLost",
            Self::WrongExit => "wrongExit",
            Self::NotReached => "notReached",
        }
    }
}

impl Expected {
    /// Whether it is a shell's word for a child that a signal of a broken program has ended.
    fn is_crash(&self, code: i32) -> bool {
        let is_expected =
            code == self.baseline || self.codes.iter().any(|allowed| i32::from(*allowed) == code);
        !is_expected && code > 128 && CRASHES.contains(&(code - 128))
    }

    fn allows(&self, code: i32) -> bool {
        if self.codes.is_empty() {
            return code != 0 || self.baseline == 0;
        }
        self.codes.iter().any(|allowed| i32::from(*allowed) == code)
    }
}

/// Signals that end a program which is broken: ILL, TRAP, ABRT, BUS, FPE, KILL, SEGV, SYS.
const CRASHES: [i32; 8] = [
    Signal::SIGILL as i32,
    Signal::SIGTRAP as i32,
    Signal::SIGABRT as i32,
    Signal::SIGBUS as i32,
    Signal::SIGFPE as i32,
    Signal::SIGKILL as i32,
    Signal::SIGSEGV as i32,
    Signal::SIGSYS as i32,
];

impl End {
    /// As the kernel has it.
    pub(crate) fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Linux has no third.
            (None, None) => Self::Code(1),
        }
    }

    /// As `chaos exec` would end with it; what was killed is killed.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::Timeout => 128 + Signal::SIGKILL as i32,
        }
    }
}

/// `SIGSEGV`; a number for those without a name.
pub(crate) fn signal_name(number: i32) -> String {
    Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => f.write_str(&signal_name(*signal)),
            Self::Timeout => f.write_str("no end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(end: End, checked: Checked, expected: &Expected) -> Verdict {
        Verdict::of(Facts { hit: Hit::Yes, end, checked, process: Process::Fine }, expected)
    }

    fn expected(baseline: i32, codes: &[u8]) -> Expected {
        Expected { baseline, codes: codes.to_vec() }
    }

    const SEGV: End = End::Signal(11);

    #[test]
    fn the_end_decides() {
        let usual = expected(0, &[]);
        for (end, verdict) in [
            (End::Code(0), Verdict::Ok),
            (End::Code(1), Verdict::Failed),
            (End::Code(101), Verdict::Failed),
            (SEGV, Verdict::Crash),
            (End::Signal(15), Verdict::Crash),
            (End::Timeout, Verdict::Hang),
        ] {
            assert_eq!(of(end, Checked::Not, &usual), verdict, "{end}");
            assert_eq!(of(end, Checked::Good, &usual), verdict, "{end}");
        }
    }

    #[test]
    fn a_shell_tells_of_crashes_by_its_code() {
        let usual = expected(0, &[]);
        for (code, verdict) in [
            (139, Verdict::Crash),
            (134, Verdict::Crash),
            (137, Verdict::Crash),
            // PIPE, TERM, and what git says of wrong usage.
            (141, Verdict::Failed),
            (143, Verdict::Failed),
            (129, Verdict::Failed),
            (128, Verdict::Failed),
            (255, Verdict::Failed),
        ] {
            assert_eq!(of(End::Code(code), Checked::Not, &usual), verdict, "{code}");
        }
        assert_eq!(of(End::Code(139), Checked::Not, &expected(139, &[])), Verdict::Ok);
        assert_eq!(of(End::Code(139), Checked::Not, &expected(0, &[139])), Verdict::Failed);
    }

    #[test]
    fn a_check_that_fails_is_of_what_ended_by_itself() {
        let usual = expected(0, &[]);
        assert_eq!(of(End::Code(0), Checked::Bad, &usual), Verdict::DataLost);
        assert_eq!(of(End::Code(1), Checked::Bad, &usual), Verdict::DataLost);
        assert_eq!(of(End::Code(7), Checked::Bad, &expected(0, &[1])), Verdict::DataLost);
        assert_eq!(of(SEGV, Checked::Bad, &usual), Verdict::Crash);
        assert_eq!(of(End::Timeout, Checked::Bad, &usual), Verdict::Hang);
    }

    #[test]
    fn codes_that_are_not_allowed_are_wrong() {
        let listed = expected(0, &[0, 1]);
        assert_eq!(of(End::Code(0), Checked::Not, &listed), Verdict::Ok);
        assert_eq!(of(End::Code(1), Checked::Not, &listed), Verdict::Failed);
        assert_eq!(of(End::Code(101), Checked::Not, &listed), Verdict::WrongExit);
        // Whoever has to say that a call failed may not end as if none had.
        assert_eq!(of(End::Code(0), Checked::Not, &expected(0, &[1])), Verdict::WrongExit);
        // A success where there was none without the fault.
        assert_eq!(of(End::Code(0), Checked::Not, &expected(1, &[])), Verdict::WrongExit);
        assert_eq!(of(End::Code(1), Checked::Not, &expected(1, &[])), Verdict::Ok);
        assert_eq!(of(End::Code(2), Checked::Not, &expected(1, &[])), Verdict::Failed);
    }

    #[test]
    fn what_was_not_hit_says_nothing() {
        for end in [End::Code(0), End::Code(1), SEGV, End::Timeout] {
            let facts = Facts { hit: Hit::No, end, checked: Checked::Bad, process: Process::Gone };
            assert_eq!(Verdict::of(facts, &expected(0, &[])), Verdict::NotReached);
        }
    }

    #[test]
    fn a_process_that_is_gone_has_crashed_whatever_the_command_says() {
        for end in [End::Code(0), End::Code(1), End::Timeout] {
            let facts = Facts { hit: Hit::Yes, end, checked: Checked::Not, process: Process::Gone };
            assert_eq!(Verdict::of(facts, &expected(0, &[])), Verdict::Crash);
        }
    }

    #[test]
    fn ends_have_words_and_codes() {
        assert_eq!((SEGV.to_string(), SEGV.code()), ("SIGSEGV".to_owned(), 139));
        assert_eq!(End::Signal(40).to_string(), "signal 40");
        assert_eq!((End::Timeout.to_string(), End::Timeout.code()), ("no end".to_owned(), 137));
        assert_eq!((End::Code(3).to_string(), End::Code(3).code()), ("exit 3".to_owned(), 3));
    }

    #[test]
    fn what_is_found_is_what_nobody_wants() {
        let found: Vec<_> = Verdict::ALL.into_iter().filter(|one| one.is_found()).collect();
        assert_eq!(found, [Verdict::Crash, Verdict::Hang, Verdict::DataLost, Verdict::WrongExit]);
    }
}
