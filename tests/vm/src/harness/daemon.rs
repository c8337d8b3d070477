//! A `chaos-daemon` of one test.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Client, Place, Scratch, Tier, poll};

/// A slow machine loads the programs in a few seconds.
const READY: Duration = Duration::from_secs(30);

/// How a daemon is started.
#[derive(Default)]
pub(crate) struct Settings {
    /// Default: three seconds, so that tests need not wait long for it to lapse.
    pub(crate) lease: Option<Duration>,
    /// Text of the policy file.
    pub(crate) policy: Option<String>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) handover: Handover,
    pub(crate) group: Option<String>,
    /// The daemon kills itself there.
    pub(crate) failpoint: Option<&'static str>,
    /// Instead of the test's own.
    pub(crate) state: Option<PathBuf>,
    /// Instead of the test's own.
    pub(crate) socket: Option<PathBuf>,
    /// Instead of the test's own.
    pub(crate) bpffs: Option<PathBuf>,
    pub(crate) place: Place,
}

/// What SIGTERM does to injections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handover {
    /// It recovers them.
    #[default]
    No,
    /// It leaves them to the next daemon.
    Yes,
}

/// The lease of test daemons.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// A running daemon. It is killed at the end.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    state: PathBuf,
    log: PathBuf,
    /// Of one that serves many tests: the thread that started it waits for its end.
    starter: Option<mpsc::Sender<()>>,
    ended: bool,
}

impl Daemon {
    /// Starts one and waits until it serves.
    pub(crate) fn start(scratch: &Scratch, settings: Settings) -> Result<Self> {
        let mut daemon = Self::launch(scratch, settings)?;
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts one and does not wait.
    pub(crate) fn launch(scratch: &Scratch, settings: Settings) -> Result<Self> {
        let socket = settings.socket.unwrap_or_else(|| scratch.socket());
        let state = settings.state.unwrap_or_else(|| scratch.state());
        let bpffs = settings.bpffs.unwrap_or_else(|| scratch.bpffs().to_owned());
        let log = scratch.join(&format!("daemon-{}.log", fs::read_dir(scratch.path())?.count()));
        let output = fs::File::create(&log).context("cannot make the log file")?;
        let mut command = Command::new(super::binary("chaos-daemon")?);
        command
            .arg("--state-dir")
            .arg(&state)
            .arg("--socket")
            .arg(&socket)
            .arg("--bpffs")
            .arg(&bpffs);
        command.arg("--lease").arg(format!("{}ms", settings.lease.unwrap_or(LEASE).as_millis()));
        if let Some(text) = settings.policy {
            let path = scratch.join("policy.yaml");
            fs::write(&path, text)?;
            command.arg("--policy").arg(path);
        }
        if let Some(address) = settings.metrics {
            command.arg("--metrics").arg(address.to_string());
        }
        if settings.handover == Handover::Yes {
            command.arg("--handover");
        }
        if let Some(group) = settings.group {
            command.arg("--group").arg(group);
        }
        if let Some(failpoint) = settings.failpoint {
            command.env("CHAOS_FAILPOINT", failpoint);
        }
        if let Some(withheld) = Tier::here().withheld() {
            command.env("CHAOS_WITHOUT", withheld);
        }
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        settings.place.apply(&mut command);
        let child = command.spawn().context("cannot start chaos-daemon")?;
        Ok(Self { child, socket, state, log, starter: None, ended: false })
    }

    /// Starts one that serves many tests. The kernel kills it with the thread that starts it (`PR_SET_PDEATHSIG`), which
    /// must not be that of a test.
    pub(super) fn resident(scratch: &Arc<Scratch>) -> Result<Self> {
        let (answer, answered) = mpsc::channel();
        let (starter, ended) = mpsc::channel::<()>();
        let (scratch, tier) = (Arc::clone(scratch), Tier::here());
        thread::spawn(move || {
            // Nobody listens any more only if the test's thread has panicked.
            let _ = answer.send(tier.during(|| Self::start(&scratch, Settings::default())));
            drop(scratch);
            let _ = ended.recv();
        });
        let mut daemon = answered.recv().context("the thread that starts a daemon panicked")??;
        daemon.starter = Some(starter);
        Ok(daemon)
    }

    /// Whether it is to serve other tests too.
    pub(super) fn is_resident(&self) -> bool {
        self.starter.is_some()
    }

    /// Waits until it serves.
    pub(crate) fn wait_ready(&mut self) -> Result<()> {
        poll::until("the daemon to serve", READY, || {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended with {status}");
            }
            // A socket file may be that of a daemon before this one.
            let Ok(client) = Client::connect(&self.socket) else { return Ok(None) };
            Ok(client.is_serving("").unwrap_or(false).then_some(()))
        })
    }

    /// Connects to it.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::connect(&self.socket)
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Files that describe injections, by name.
    pub(crate) fn journal(&self) -> Result<Vec<String>> {
        journal(&self.state)
    }

    /// Its audit log.
    pub(crate) fn audit(&self) -> Result<String> {
        fs::read_to_string(self.state.join("audit.log")).context("cannot read the audit log")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal).context("cannot signal the daemon")
    }

    /// Ends it as a service manager does. It must end well.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        let status = self.wait("the daemon to stop", Duration::from_secs(30))?;
        ensure!(status.success(), "the daemon ended with {status} on SIGTERM");
        self.ended = true;
        Ok(())
    }

    /// Waits until it has ended, in whatever way.
    pub(crate) fn wait_end(mut self) -> Result<ExitStatus> {
        let status = self.wait("the daemon to end", Duration::from_secs(30))?;
        self.ended = true;
        Ok(status)
    }

    /// Kills it without warning.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("cannot kill the daemon")?;
        self.child.wait()?;
        self.ended = true;
        Ok(())
    }

    /// Waits until it has killed itself at its fail point.
    pub(crate) fn wait_killed(mut self) -> Result<()> {
        use std::os::unix::process::ExitStatusExt as _;
        let what =
            "the daemon to die at its fail point (is it built with `--features failpoints`?)";
        let status = self.wait(what, Duration::from_secs(15))?;
        ensure!(status.signal() == Some(Signal::SIGKILL as i32), "the daemon ended with {status}");
        self.ended = true;
        Ok(())
    }

    /// Waits until it ends by itself, and returns its status and what it said.
    pub(crate) fn wait_refused(mut self) -> Result<(ExitStatus, String)> {
        let status = self.wait("the daemon to refuse", READY)?;
        self.ended = true;
        Ok((status, self.said()?))
    }

    fn wait(&mut self, what: &str, within: Duration) -> Result<ExitStatus> {
        poll::until(what, within, || Ok(self.child.try_wait()?))
    }

    fn said(&self) -> Result<String> {
        fs::read_to_string(&self.log).context("cannot read the daemon's output")
    }
}

/// Files of a state folder that describe injections.
pub(crate) fn journal(state: &Path) -> Result<Vec<String>> {
    let dir = state.join("injections");
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let names =
        fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.ended {
            let said = self.said().unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines.len().saturating_sub(25);
            eprintln!("--- the daemon's last lines ---\n{}\n---", lines[last..].join("\n"));
        }
    }
}
