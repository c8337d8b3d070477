//! Until when the daemon counts as alive. Shared: it is renewed while others work under the engine's lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use aya::maps::{Array, MapData};
use parking_lot::Mutex;

use super::{KernelError, tables::at};
use crate::boot_clock::BootTime;

/// The lease of this engine.
pub struct Lease {
    /// One for each engine; the first is there always.
    tables: Mutex<Vec<Array<MapData, u64>>>,
    length: Duration,
    /// As written by this process, in nanoseconds of the boot clock.
    until: AtomicU64,
}

impl Lease {
    pub(super) fn new(table: Array<MapData, u64>, length: Duration) -> Self {
        Self { tables: Mutex::new(vec![table]), length, until: AtomicU64::new(0) }
    }

    /// Until when the kernel takes somebody for alive, maybe an earlier process.
    #[must_use]
    pub fn in_kernel(&self) -> BootTime {
        let tables = self.tables.lock();
        let first = tables.first().and_then(|table| table.get(&0, 0).ok());
        first.map_or(BootTime::ZERO, BootTime::from_nanos)
    }

    /// Keeps it in the table of a further engine too.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn keep_in(&self, mut table: Array<MapData, u64>) -> Result<(), KernelError> {
        // Nobody may extend it in between.
        let mut tables = self.tables.lock();
        // Before the first sign of life there may be an earlier process's there, which is good.
        if self.until() > BootTime::ZERO {
            table.set(0, &self.until().nanos(), 0).map_err(at("write the lease"))?;
        }
        tables.push(table);
        Ok(())
    }

    /// Says that we are alive, if a third of the lease is used. Returns whether it was time to.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn extend(&self) -> Result<bool, KernelError> {
        let now = BootTime::now();
        if self.until() >= now.after(self.length * 2 / 3) {
            return Ok(false);
        }
        let until = now.after(self.length);
        let mut tables = self.tables.lock();
        for table in tables.iter_mut() {
            table.set(0, &until.nanos(), 0).map_err(at("write the lease"))?;
        }
        self.until.store(until.nanos(), Ordering::Release);
        Ok(true)
    }

    /// When it is time to extend it.
    #[must_use]
    pub fn due(&self) -> BootTime {
        let used = (self.length * 2 / 3).as_nanos() as u64;
        BootTime::from_nanos(self.until().nanos().saturating_sub(used))
    }

    /// How long what is under way may take before it is time to look again.
    #[must_use]
    pub fn beat(&self) -> Duration {
        self.length / 3
    }

    fn until(&self) -> BootTime {
        BootTime::from_nanos(self.until.load(Ordering::Acquire))
    }
}
