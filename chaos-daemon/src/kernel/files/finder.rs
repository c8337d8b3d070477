//! Finds what is to be watched in a thread of its own: one that waits for a disk for ever keeps nobody else.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

/// How long it may take. A tree has a few thousand directories at the most.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the daemon says meanwhile that it lives.
const BEAT: Duration = Duration::from_millis(100);

/// One that looks.
#[derive(Debug)]
pub(super) struct Finder<T>(Receiver<T>);

impl<T: Send + 'static> Finder<T> {
    pub(super) fn start(look: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = channel();
        thread::Builder::new().name("files".into()).spawn(move || {
            // Nobody may wait for it any more.
            let _ = sender.send(look());
        })?;
        Ok(Self(receiver))
    }

    /// What it has found; `None` if it is not ready in time. `alive` is called again and again.
    pub(super) fn wait(&self, alive: &dyn Fn()) -> Option<T> {
        self.wait_for(PATIENCE, alive)
    }

    /// Whether it has ended, so that another may begin.
    pub(super) fn is_over(&self) -> bool {
        self.wait_for(Duration::ZERO, &|| ()).is_some() || self.has_vanished()
    }

    fn has_vanished(&self) -> bool {
        matches!(self.0.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected))
    }

    fn wait_for(&self, patience: Duration, alive: &dyn Fn()) -> Option<T> {
        let end = Instant::now() + patience;
        loop {
            alive();
            let left = end.saturating_duration_since(Instant::now());
            match self.0.recv_timeout(left.min(BEAT)) {
                Ok(found) => return Some(found),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn what_is_found_arrives() {
        let finder = Finder::start(|| 7).unwrap();
        assert_eq!(finder.wait(&|| ()), Some(7));
        assert!(finder.is_over());
    }

    #[test]
    fn nobody_waits_for_a_disk_for_ever() {
        let (disk, stuck) = channel::<()>();
        let finder = Finder::start(move || stuck.recv().is_ok()).unwrap();
        let beats = Cell::new(0);
        let patience = Duration::from_millis(350);
        assert_eq!(finder.wait_for(patience, &|| beats.set(beats.get() + 1)), None);
        assert!(beats.get() > 2, "the daemon says that it lives: {}", beats.get());
        assert!(!finder.is_over());
        disk.send(()).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while !finder.is_over() {
            assert!(Instant::now() < end, "it has ended, and nobody is told");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
