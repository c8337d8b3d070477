//! The daemon dies, stops, or finds its state spoilt: afterwards a fault is whole or gone, never half,
//! and never for longer than the lease.

#[path = "crash/adoption.rs"]
mod adoption;
#[path = "crash/calls.rs"]
mod calls;
#[path = "crash/clock.rs"]
mod clock;
#[path = "crash/early_end.rs"]
mod early_end;
#[path = "crash/fail_points.rs"]
mod fail_points;
#[path = "crash/foreign_lock.rs"]
mod foreign_lock;
#[path = "crash/held.rs"]
mod held;
#[path = "crash/journal.rs"]
mod journal;
#[path = "crash/kill_switch.rs"]
mod kill_switch;
#[path = "crash/kinds.rs"]
mod kinds;
#[path = "crash/lease.rs"]
mod lease;
#[path = "crash/lost_hooks.rs"]
mod lost_hooks;
#[path = "crash/lost_pins.rs"]
mod lost_pins;
#[path = "crash/names.rs"]
mod names;
#[path = "crash/renewal.rs"]
mod renewal;
#[path = "crash/storage.rs"]
mod storage;

use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = [
        fail_points::trials(),
        kinds::trials(),
        calls::trials(),
        names::trials(),
        held::trials(),
        lease::trials(),
        kill_switch::trials(),
        foreign_lock::trials(),
        journal::trials(),
        storage::trials(),
        renewal::trials(),
        lost_pins::trials(),
        lost_hooks::trials(),
        adoption::trials(),
        early_end::trials(),
        clock::trials(),
    ];
    parts.into_iter().flatten().collect()
}
