//! What all runs of a sweep stand on, and one run: a command in a cgroup of its own, with a fault or without, until it
//! ends or has to.

use std::{
    ffi::OsString,
    fs::File,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chaos_common::{
    abi::RuleStats,
    fault::Fault,
    injection::Injection,
    spec::{InjectionId, Spec, Times},
    target::Target,
    value::{Errno, Lifetime},
};
use chaos_daemon::{
    engine::{Engine, Firing, Notice, Parting},
    kernel::Hit,
    policy::Policy,
    target::CgroupRoot,
};
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use super::{
    process::Running,
    tail::Listener,
    verdict::{End, signal_name},
};
use crate::exec::{self, Child, FreshCgroup, Signals, WHO};

/// How long word of a firing may take.
const WORD: Duration = Duration::from_secs(1);

/// How long a process that was hit may take to end of it, after the command has ended.
const AFTERMATH: Duration = Duration::from_millis(200);

const PAUSE: Duration = Duration::from_millis(2);

/// How often to look whether somebody wants an end, where nothing else is due.
const LOOK: Duration = Duration::from_secs(3600);

/// Somebody wants an end of it.
#[derive(Debug, thiserror::Error)]
#[error("{} came", signal_name(*.0))]
pub(super) struct Interrupted(pub(super) i32);

/// What all runs have in common.
pub(super) struct Ground {
    signals: Signals,
    root: CgroupRoot,
    engine: Arc<Engine>,
    notices: Receiver<Notice>,
    /// Where to keep what commands say.
    keep: Option<PathBuf>,
    held: Option<Held>,
    left_out: String,
}

/// What keeps hooks attached between the runs, since each takes its time: the fault, firing nowhere, on a cgroup in which
/// nobody is.
struct Held {
    cgroup: FreshCgroup,
    id: InjectionId,
}

/// A command to be run.
pub(super) struct Task<'a> {
    pub(super) command: &'a [OsString],
    /// In its environment, besides.
    pub(super) variables: &'a [(&'a str, String)],
    /// After so long it is killed.
    pub(super) limit: Option<Duration>,
    /// What files with its output are called.
    pub(super) name: &'a str,
    pub(super) fault: Option<Aimed<'a>>,
}

/// A fault and whom it hits.
pub(super) struct Aimed<'a> {
    pub(super) fault: Fault,
    pub(super) times: Times,
    /// The command, if it is not a process that runs already.
    pub(super) process: Option<&'a Running>,
    pub(super) duration: Lifetime,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(super) struct Ran {
    pub(super) end: End,
    pub(super) took: Duration,
    /// The last lines that it wrote to its errors.
    pub(super) said: Vec<String>,
    pub(super) counters: RuleStats,
    pub(super) call: Option<Call>,
}

/// The call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) errno: String,
    /// Who called, where that was to be found out: id and name.
    pub(super) process: Option<(u32, String)>,
}

impl Ground {
    /// Takes signals over and starts an engine.
    ///
    /// # Errors
    /// When this process may not, or the kernel cannot.
    pub(super) fn prepare(policy: Policy, keep: Option<PathBuf>) -> anyhow::Result<Self> {
        exec::needs_root()?;
        // Before any thread begins, so that all of them leave the signals to us.
        let signals = Signals::block().context("cannot take over the signals")?;
        if let Some(folder) = &keep {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let root = CgroupRoot::find()?;
        let engine = exec::engine(root.clone(), policy)?;
        let notices = engine.subscribe();
        Ok(Self { signals, root, engine, notices, keep, held: None, left_out: String::new() })
    }

    /// Keeps a fault's hooks attached from now on.
    ///
    /// # Errors
    /// When this node cannot have the fault.
    pub(super) fn hold(
        &mut self,
        (fault, times): (Fault, Times),
        duration: Lifetime,
    ) -> anyhow::Result<()> {
        let cgroup = FreshCgroup::make(&self.root)?;
        let aimed = Aimed { fault, times, process: None, duration };
        let id = self.inject(&aimed, &cgroup)?;
        self.held = Some(Held { cgroup, id });
        Ok(())
    }

    /// The cgroup of one run.
    fn cgroup(&self) -> anyhow::Result<FreshCgroup> {
        let Some(held) = &self.held else { return FreshCgroup::make(&self.root) };
        // If it is over already the hooks go with each run, and come with the next.
        let _ = self.engine.renew(&held.id, None, WHO);
        held.cgroup.beside()
    }

    /// Ends everything.
    pub(super) fn clear(self) {
        exec::tell_of(&self.engine.stop(Parting::Recover, WHO));
        if let Some(held) = self.held {
            held.cgroup.remove();
        }
    }

    /// Runs a command to its end. Whatever it leaves running is killed.
    ///
    /// # Errors
    /// When it could not be run as it should, or somebody wants an end.
    pub(super) fn run(&mut self, task: Task<'_>) -> anyhow::Result<Ran> {
        let cgroup = self.cgroup()?;
        let files = (self.file(task.name, "out")?, self.file(task.name, "err")?);
        let (mut child, out, err) = Child::unattended(task.command, task.variables)?;
        let listeners = Listener::to(out, files.0)
            .and_then(|out| Ok((out, Listener::to(err, files.1)?)))
            .context("cannot start a thread");
        let mut injected = None;
        let ended = listeners.and_then(|listeners| {
            cgroup.take_in(child.pid())?;
            if let Some(aimed) = &task.fault {
                injected = Some(self.inject(aimed, &cgroup)?);
            }
            let started = Instant::now();
            child.release()?;
            let end = self.wait(&mut child, started, task.limit)?;
            Ok((end, started.elapsed(), listeners))
        });
        let killed = cgroup.kill();
        if killed.is_ok() {
            // Otherwise it would be waited for without end.
            child.abandon();
        }
        if let (Ok(_), Some(aimed)) = (&ended, &task.fault) {
            self.see_aftermath(injected.as_ref(), aimed);
        }
        let call = injected.as_ref().and_then(|id| self.call(id));
        let injection = injected.map(|id| self.engine.recover(&id, WHO)).transpose();
        cgroup.remove();
        let (end, took, (out, err)) = ended?;
        killed?;
        let counters = injection?.map(|Injection { counters, .. }| counters).unwrap_or_default();
        out.last_words().context("cannot keep what a command says")?;
        let said = err.last_words().context("cannot keep what a command says")?;
        Ok(Ran { end, took, said, counters, call })
    }

    fn file(&self, name: &str, ending: &str) -> anyhow::Result<Option<File>> {
        let Some(folder) = &self.keep else { return Ok(None) };
        let path = folder.join(format!("{name}.{ending}"));
        File::create(&path)
            .map(Some)
            .with_context(|| format!("cannot make the file {}", path.display()))
    }

    /// What of the fault this node cannot do, and why.
    pub(super) fn left_out(&self) -> &str {
        &self.left_out
    }

    fn inject(&mut self, aimed: &Aimed<'_>, cgroup: &FreshCgroup) -> anyhow::Result<InjectionId> {
        let Aimed { fault, times, process, duration } = aimed;
        let target = match process {
            None => Target::Cgroup(cgroup.path().clone()),
            Some(running) => Target::Pid(running.pid().try_into()?),
        };
        let spec = Spec {
            target,
            fault: fault.clone(),
            duration: *duration,
            times: Some(*times),
            seed: None,
        };
        let injection = self.engine.inject(None, spec, WHO)?;
        self.left_out = injection.message;
        Ok(injection.id)
    }

    fn wait(
        &self,
        child: &mut Child,
        started: Instant,
        limit: Option<Duration>,
    ) -> anyhow::Result<End> {
        loop {
            if let Some(status) = child.try_status().context("cannot wait for the command")? {
                return Ok(End::of(status));
            }
            let left = limit.map_or(LOOK, |limit| limit.saturating_sub(started.elapsed()));
            if left.is_zero() {
                return Ok(End::Timeout);
            }
            if let Some(signal) = self.signals.end_within(left)? {
                return Err(Interrupted(signal).into());
            }
        }
    }

    /// A process that was hit may end of it a moment later.
    fn see_aftermath(&self, id: Option<&InjectionId>, aimed: &Aimed<'_>) {
        let (Some(running), true) = (aimed.process, id.is_some_and(|id| self.has_fired(id))) else {
            return;
        };
        let end = Instant::now() + AFTERMATH;
        while running.lives() && Instant::now() < end {
            thread::sleep(PAUSE);
        }
    }

    fn has_fired(&self, id: &InjectionId) -> bool {
        self.engine.get(id).is_ok_and(|injection| injection.counters.fired > 0)
    }

    /// Which call failed, if one did. While the injection is there: word of one that is over goes nowhere.
    fn call(&mut self, id: &InjectionId) -> Option<Call> {
        if !self.has_fired(id) {
            return None;
        }
        let end = Instant::now() + WORD;
        while Instant::now() < end {
            match self.notices.try_recv() {
                Ok(Notice::Firing(firing)) if firing.id == *id => return Call::of(&firing),
                Ok(Notice::Firing(_) | Notice::Changed(_)) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty) => thread::sleep(PAUSE),
                Err(TryRecvError::Closed) => return None,
            }
        }
        None
    }
}

impl Call {
    fn of(firing: &Firing) -> Option<Self> {
        let (name, number) = match &firing.event.what {
            Hit::Call(hit) => (hit.name, hit.errno),
            Hit::Packet(hit) => hit.refused?,
        };
        let errno = Errno::of_number(number);
        let errno = errno.map_or_else(|| number.to_string(), |errno| errno.name().to_owned());
        Some(Self { name, errno, process: firing.process.clone() })
    }
}
