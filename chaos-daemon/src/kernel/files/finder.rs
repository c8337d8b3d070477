//! Finds what is to be watched in a thread of its own: one that waits for a disk for ever keeps nobody else for long.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How often whoever waits says that it lives.
const BEAT: Duration = Duration::from_millis(100);

/// Threads that are still looking, though nobody wants to know any more.
static STRAYED: AtomicUsize = AtomicUsize::new(0);

/// How many there are. No more should begin then: whatever keeps them will keep others too.
pub(super) fn strayed() -> usize {
    STRAYED.load(Ordering::Acquire)
}

/// One that looks.
#[derive(Debug)]
pub(super) struct Finder<T> {
    answer: Receiver<T>,
    state: Arc<AtomicU8>,
    begun: Instant,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<T> {
    Found(T),
    /// Nothing yet.
    Late,
    /// Nothing, and nothing will: it has panicked.
    Lost,
}

const LOOKS: u8 = 0;
const IS_OVER: u8 = 1;
const HAS_STRAYED: u8 = 2;

/// Ends a thread's life in the books, however it ends.
struct Over(Arc<AtomicU8>);

impl Drop for Over {
    fn drop(&mut self) {
        if self.0.swap(IS_OVER, Ordering::AcqRel) == HAS_STRAYED {
            STRAYED.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<T: Send + 'static> Finder<T> {
    pub(super) fn start(look: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (sender, answer) = channel();
        let state = Arc::new(AtomicU8::new(LOOKS));
        let over = Over(Arc::clone(&state));
        thread::Builder::new().name("files".into()).spawn(move || {
            let over = over;
            let found = look();
            // First, or whoever has what was found would take this for one that still looks.
            drop(over);
            // Nobody may wait for it any more.
            let _ = sender.send(found);
        })?;
        Ok(Self { answer, state, begun: Instant::now() })
    }

    /// How long it has been looking.
    pub(super) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// What it has found, after so long at the most. `alive` is called again and again.
    pub(super) fn wait(&self, patience: Duration, alive: &dyn Fn()) -> Answer<T> {
        let end = Instant::now() + patience;
        loop {
            alive();
            let left = end.saturating_duration_since(Instant::now());
            match self.answer.recv_timeout(left.min(BEAT)) {
                Ok(found) => return Answer::Found(found),
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(RecvTimeoutError::Timeout) => return Answer::Late,
                Err(RecvTimeoutError::Disconnected) => return Answer::Lost,
            }
        }
    }
}

impl<T> Drop for Finder<T> {
    fn drop(&mut self) {
        let state =
            self.state.compare_exchange(LOOKS, HAS_STRAYED, Ordering::AcqRel, Ordering::Acquire);
        if state.is_ok() {
            STRAYED.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn what_is_found_arrives() {
        let finder = Finder::start(|| 7).unwrap();
        assert_eq!(finder.wait(LONG, &|| ()), Answer::Found(7));
        assert_eq!(finder.wait(LONG, &|| ()), Answer::Lost);
        // It has not strayed, however soon it is let go.
        for n in 0..1000 {
            let finder = Finder::start(move || n).unwrap();
            assert_eq!(finder.wait(LONG, &|| ()), Answer::Found(n));
            assert_eq!(finder.state.load(Ordering::Acquire), IS_OVER);
        }
    }

    #[test]
    fn nobody_waits_for_a_disk_for_ever() {
        let (disk, stuck) = channel::<()>();
        let finder = Finder::start(move || stuck.recv().is_ok()).unwrap();
        let beats = Cell::new(0);
        let beat = || beats.set(beats.get() + 1);
        assert_eq!(finder.wait(Duration::from_millis(350), &beat), Answer::Late);
        assert!(beats.get() > 2, "whoever waits says that it lives: {}", beats.get());
        assert!(finder.age() >= Duration::from_millis(350));
        let before = strayed();
        drop(finder);
        assert!(strayed() > before, "one that nobody waits for counts");
        disk.send(()).unwrap();
        let end = Instant::now() + LONG;
        while strayed() > before {
            assert!(Instant::now() < end, "it has ended, and still counts");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
