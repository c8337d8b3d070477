//! Datagrams sent one after the other until somebody says stop.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};

use super::{Sent, datagram::Datagrams};

/// Between two datagrams: short beside anything that a daemon does, and no load.
const PAUSE: Duration = Duration::from_millis(1);

pub(super) struct Steady {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Sent>,
}

impl Steady {
    /// Begins with a number.
    pub(super) fn begin(datagrams: Datagrams, to: Option<SocketAddr>, first: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut all = Sent::default();
            for number in first.. {
                if heard.load(Ordering::Relaxed) {
                    break;
                }
                let Sent { ok, failed } = datagrams.send(to, number, 1, 0);
                all.ok += ok;
                all.failed.extend(failed);
                thread::sleep(PAUSE);
            }
            all
        });
        Self { is_over, thread }
    }

    pub(super) fn end(self) -> Result<Sent> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a sender panicked"))
    }
}
