//! Ctrl-C and `kill` reach the programs that we run, which then end in order; so do we, after them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether a signal came.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on, a signal that would end this process is passed on to its children as SIGTERM.
    pub(super) fn forward() -> Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&came);
        let mut signals =
            Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot listen for signals")?;
        thread::spawn(move || {
            for _ in signals.forever() {
                told.store(true, Ordering::Relaxed);
                for child in children() {
                    // It may just have ended; one that runs as root has got the terminal's signal itself.
                    let _ = kill(child, Signal::SIGTERM);
                }
            }
        });
        Ok(Self(came))
    }

    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Processes whose parent we are.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let is_ours = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before it, in parentheses, may hold anything.
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parent == Some(own)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_ours).map(Pid::from_raw).collect()
}
