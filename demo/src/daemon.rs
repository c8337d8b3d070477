//! The real `chaos-daemon`, with socket, state and bpffs of the demo's own.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{chaos::Chaos, child::Process, interrupt::Interrupt};

/// An emulated machine loads the programs in some seconds.
const READY: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);

/// The demo's own policy, so that the machine's, if it has one, does not matter.
const POLICY: &str = "maxDuration: 1m\nmaxInjections: 1\n";

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    log: PathBuf,
}

impl Daemon {
    /// Starts it, to keep all it has in this folder.
    pub(crate) fn start(
        program: &Path,
        folder: &Path,
        bpffs: &Path,
        socket: &Path,
    ) -> Result<Self> {
        let (policy, log) = (folder.join("policy.yaml"), folder.join("daemon.log"));
        fs::write(&policy, POLICY).with_context(|| format!("cannot write {}", policy.display()))?;
        let output =
            fs::File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        let mut command = Process::own("become")?;
        command.arg(program).arg("--state-dir").arg(state(folder));
        command.arg("--socket").arg(socket).arg("--bpffs").arg(bpffs).arg("--policy").arg(policy);
        command.stdout(output.try_clone()?).stderr(output);
        Ok(Self { process: Process::start(&mut command, Signal::SIGTERM)?, log })
    }

    /// Waits until it serves.
    pub(crate) fn wait_ready(&mut self, chaos: &Chaos, interrupt: &Interrupt) -> Result<Value> {
        let deadline = Instant::now() + READY;
        loop {
            ensure!(!interrupt.is_set(), "interrupted");
            if let Some(status) = self.process.ended()? {
                bail!("chaos-daemon does not start ({status}): {}", self.last_words());
            }
            if let Ok(answer) = chaos.ask(&["doctor"]) {
                return Ok(answer);
            }
            ensure!(
                Instant::now() < deadline,
                "chaos-daemon is not ready after {} s",
                READY.as_secs()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.ended()? {
            None => Ok(()),
            Some(status) => bail!("chaos-daemon ended with {status}: {}", self.last_words()),
        }
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = self.process.end(STOP)?;
        ensure!(
            status.success(),
            "chaos-daemon ended with {status} on SIGTERM: {}",
            self.last_words()
        );
        Ok(())
    }

    /// The end of its log, without the decoration of a line of JSON.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        last.trim_start_matches("chaos-daemon: ").to_owned()
    }
}

/// Where the daemon keeps its state.
pub(crate) fn state(folder: &Path) -> PathBuf {
    folder.join("state")
}
