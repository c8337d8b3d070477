//! Calls and faults of calls, written shortly.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use chaos_common::proto::v1::{self, fault::Fault};
use nix::{errno::Errno, libc};

use super::{
    Agent,
    spec::{Common, Making, wire},
};
use crate::victim::{Answer, Arg, Ask, Deed, Entry, Tally};

/// Operations of `io_uring` that victims know.
pub(crate) mod uring {
    pub(crate) const OPENAT: i64 = 18;
    pub(crate) const READ: i64 = 22;
    pub(crate) const WRITE: i64 = 23;
    pub(crate) const FSYNC: i64 = 3;
}

/// A call with these arguments.
pub(crate) fn call(number: i64, args: impl IntoIterator<Item = Arg>) -> Deed {
    Deed { entry: Entry::Native, number, args: args.into_iter().collect() }
}

pub(crate) fn number(number: impl Into<i64>) -> Arg {
    Arg::Number(number.into())
}

pub(crate) fn text(text: impl Into<String>) -> Arg {
    Arg::Text(text.into())
}

/// `openat` of a path, to read.
pub(crate) fn openat(path: &str) -> Deed {
    openat_with(path, libc::O_RDONLY)
}

pub(crate) fn openat_with(path: &str, flags: i32) -> Deed {
    call(libc::SYS_openat, [number(libc::AT_FDCWD), text(path), number(flags), number(0o600)])
}

/// Every way to open a path, by name.
pub(crate) fn ways_to_open(path: &str) -> Vec<(&'static str, Deed)> {
    let here = || number(libc::AT_FDCWD);
    // `struct open_how`: flags, mode, resolve.
    let how = Arg::Bytes(vec![0; 24]);
    // By their numbers of 32 bits.
    let compat = |number, args| Deed { entry: Entry::Compat, number, args };
    vec![
        ("open", call(libc::SYS_open, [text(path), number(0)])),
        ("openat", openat(path)),
        ("openat2", call(libc::SYS_openat2, [here(), text(path), how, number(24)])),
        ("int80 open", compat(5, vec![text(path), number(0)])),
        ("int80 openat", compat(295, vec![here(), text(path), number(0)])),
    ]
}

impl Agent {
    /// Does a system call. What the kernel gives back: a negative errno where it failed.
    pub(crate) fn deed(&self, deed: &Deed) -> Result<i64> {
        let Answer::Result(result) = self.ask(&Ask::Do(deed.clone()))? else {
            bail!("that is no result")
        };
        Ok(result)
    }

    /// Does a system call that opens nothing, or what it opens closed, in several threads at once.
    pub(crate) fn repeat(
        &self,
        deed: &Deed,
        threads: usize,
        times: u64,
        opens: bool,
    ) -> Result<Tally> {
        let deed = deed.clone();
        let Answer::Tally(tally) = self.ask(&Ask::Repeat { deed, threads, times, opens })? else {
            bail!("that is no tally")
        };
        Ok(tally)
    }
}

/// What a call comes to.
pub(crate) fn outcome(agent: &Agent, deed: &Deed) -> Result<Result<i64, Errno>> {
    let result = agent.deed(deed)?;
    Ok(if result < 0 { Err(Errno::from_raw(-result as i32)) } else { Ok(result) })
}

/// Fails unless a call works; what it opened is closed again.
pub(crate) fn works(agent: &Agent, deed: &Deed) -> Result<()> {
    match outcome(agent, deed)? {
        Ok(descriptor) if is_open(deed) => {
            agent.deed(&call(libc::SYS_close, [number(descriptor)])).map(drop)
        }
        Ok(_) => Ok(()),
        Err(errno) => bail!("{deed:?} failed with {errno}"),
    }
}

/// Fails unless a call fails as it should.
pub(crate) fn fails(agent: &Agent, deed: &Deed, errno: Errno) -> Result<()> {
    let came = outcome(agent, deed)?;
    ensure!(came == Err(errno), "{deed:?} came to {came:?}, not {errno}");
    Ok(())
}

/// Whether a call opens something.
pub(crate) fn is_open(deed: &Deed) -> bool {
    match deed.entry {
        Entry::Native => [libc::SYS_open, libc::SYS_openat, libc::SYS_openat2, libc::SYS_creat]
            .contains(&deed.number),
        Entry::Compat => [5, 295].contains(&deed.number),
        Entry::Uring | Entry::UringWorker | Entry::UringPoller => deed.number == uring::OPENAT,
    }
}

/// One of those of calls.
pub(crate) type Calls = Making<Conditions>;

/// Which of the matching calls, and whose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    occasion: v1::Occasion,
    caller: v1::Caller,
}

impl Common for Conditions {
    fn put_into(self, fault: &mut Fault) {
        let (occasion, caller) = (Some(self.occasion), Some(self.caller));
        match fault {
            Fault::SyscallError(error) => (error.occasion, error.caller) = (occasion, caller),
            Fault::FileError(error) => (error.occasion, error.caller) = (occasion, caller),
            Fault::FileDelay(delay) => (delay.occasion, delay.caller) = (occasion, caller),
            Fault::SocketError(error) => (error.occasion, error.caller) = (occasion, caller),
            Fault::MemoryError(error) => (error.occasion, error.caller) = (occasion, caller),
            Fault::NetworkLoss(_)
            | Fault::NetworkDelay(_)
            | Fault::NetworkDuplicate(_)
            | Fault::NetworkReorder(_)
            | Fault::NetworkCorrupt(_)
            | Fault::NetworkRate(_)
            | Fault::NetworkPartition(_)
            | Fault::NetworkReject(_)
            | Fault::NetworkOccupy(_)
            | Fault::DnsError(_)
            | Fault::DnsRecord(_)
            | Fault::DnsDelay(_)
            | Fault::DnsServer(_) => {}
        }
    }
}

/// `syscall error`.
pub(crate) fn syscalls(calls: &[&str], errno: &str) -> Calls {
    syscalls_with(calls, errno, |_| {})
}

/// The same with more conditions.
pub(crate) fn syscalls_with(
    calls: &[&str],
    errno: &str,
    change: impl FnOnce(&mut v1::SyscallError),
) -> Calls {
    let calls = calls.iter().map(ToString::to_string).collect();
    let mut error = v1::SyscallError { calls, errno: errno.into(), ..Default::default() };
    change(&mut error);
    Calls::new(Fault::SyscallError(error))
}

/// `file error`.
pub(crate) fn files(paths: &[&str], operations: &[&str], errno: &str) -> Calls {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    Calls::new(Fault::FileError(v1::FileError {
        paths: texts(paths),
        operations: texts(operations),
        errno: errno.into(),
        ..Default::default()
    }))
}

/// `file delay`.
pub(crate) fn file_delay(
    paths: &[&str],
    operations: &[&str],
    latency: Duration,
    change: impl FnOnce(&mut v1::FileDelay),
) -> Calls {
    let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    let mut delay = v1::FileDelay {
        paths: texts(paths),
        operations: texts(operations),
        latency: wire(latency),
        ..Default::default()
    };
    change(&mut delay);
    Calls::new(Fault::FileDelay(delay))
}

/// `socket error`.
pub(crate) fn sockets(
    operations: &[&str],
    errno: &str,
    change: impl FnOnce(&mut v1::SocketError),
) -> Calls {
    let operations = operations.iter().map(ToString::to_string).collect();
    let mut error = v1::SocketError { operations, errno: errno.into(), ..Default::default() };
    change(&mut error);
    Calls::new(Fault::SocketError(error))
}

/// `memory error`.
pub(crate) fn memory(operation: &str, least: Option<u64>) -> Calls {
    let operation = operation.into();
    Calls::new(Fault::MemoryError(v1::MemoryError { operation, least, ..Default::default() }))
}

impl Calls {
    pub(crate) fn percent(mut self, percent: f64) -> Self {
        self.common.occasion.percent = Some(percent);
        self
    }

    pub(crate) fn skip(mut self, skip: u64) -> Self {
        self.common.occasion.skip = Some(skip);
        self
    }

    pub(crate) fn every(mut self, every: u64) -> Self {
        self.common.occasion.every = Some(every);
        self
    }

    pub(crate) fn comm(mut self, comm: &str) -> Self {
        self.common.caller.comm = Some(comm.into());
        self
    }

    pub(crate) fn exe(mut self, exe: &str) -> Self {
        self.common.caller.exe.push(exe.into());
        self
    }
}
