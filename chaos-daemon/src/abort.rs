//! Threads without which faults would not end as they should. Better to begin anew than to go on without one.

use std::{process, thread};

/// Ends the process if its thread panics. What ends with the process ends, and the rest with the lease.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::abort();
        }
    }
}
