//! The real `chaos` command, and what it answers.

use std::{
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Name of the demo's injection.
const ID: &str = "demo";
/// The fault.
pub(crate) const PERCENT: u32 = 30;

/// The command, and the daemon it talks to.
#[derive(Clone, Debug)]
pub(crate) struct Chaos {
    pub(crate) program: PathBuf,
    pub(crate) socket: PathBuf,
}

/// What the daemon says of the injection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Injection {
    pub(crate) matched: u64,
    pub(crate) fired: u64,
    /// Why it ended, if it has: `expired`.
    pub(crate) end: Option<String>,
}

impl Injection {
    fn read(answer: &Value) -> Self {
        let count = |name: &str| answer["counters"][name].as_u64().unwrap_or_default();
        let end = answer["end"].as_str().map(str::to_owned);
        Self { matched: count("matched"), fired: count("fired"), end }
    }
}

impl Chaos {
    /// Runs it and reads its JSON.
    pub(crate) fn ask<S: AsRef<str>>(&self, arguments: &[S]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(arguments.iter().map(AsRef::as_ref)).args(["-o", "json"]);
        command.env("CHAOS_SOCKET", &self.socket).stdin(Stdio::null()).process_group(0);
        let output =
            command.output().with_context(|| format!("cannot start {}", self.program.display()))?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        serde_json::from_slice(&output.stdout).context("cannot read what `chaos` answers")
    }

    /// Injects.
    pub(crate) fn inject(&self, cgroup: &str, duration: Duration) -> Result<()> {
        let words = inject_words(cgroup, duration);
        self.ask(&[&words[..], &["--id".to_owned(), ID.to_owned()]].concat()).map(drop)
    }

    /// Asks for the injection again and again, from a thread of its own.
    pub(crate) fn follow(&self) -> Follower {
        let (last, done) =
            (Arc::new(Mutex::<Injection>::default()), Arc::new(AtomicBool::new(false)));
        let (chaos, sink, told) = (self.clone(), Arc::clone(&last), Arc::clone(&done));
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let asked = Instant::now();
                if let Ok(answer) = chaos.ask(&["get", ID]) {
                    *sink.lock().unwrap_or_else(PoisonError::into_inner) = Injection::read(&answer);
                }
                // On a slow machine, the question must not become a load of its own.
                let pause =
                    (asked.elapsed() * 5).clamp(Duration::from_millis(200), Duration::from_secs(1));
                thread::sleep(pause);
            }
        });
        Follower { last, done, thread: Some(thread) }
    }
}

/// What a person would type.
pub(crate) fn inject_words(cgroup: &str, duration: Duration) -> Vec<String> {
    let (percent, duration) = (PERCENT.to_string(), format!("{}s", duration.as_secs()));
    let words = [
        "inject",
        "network",
        "loss",
        "--cgroup",
        cgroup,
        "--percent",
        &percent,
        "--duration",
        &duration,
    ];
    words.map(str::to_owned).to_vec()
}

/// A thread that asks. It ends with the value.
pub(crate) struct Follower {
    last: Arc<Mutex<Injection>>,
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Follower {
    /// The last answer.
    pub(crate) fn last(&self) -> Injection {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and has said so.
            let _ = thread.join();
        }
    }
}
