//! Telling user space of firings, sampled.

use aya_ebpf::{macros::map, maps::RingBuf};
use chaos_common::abi::{Direction, NetEvent};

use super::kernel;
use crate::{gate::Firing, packet::Packet};

/// Sampled firings.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);

/// Reports one firing.
#[inline(always)]
pub fn report(rule: u32, direction: Direction, packet: &Packet, firing: &Firing) {
    submit(|| NetEvent {
        time_ns: firing.now_ns,
        n: firing.n,
        rule,
        pid: match direction {
            Direction::Out => kernel::current_process(),
            Direction::In => 0,
        },
        length: packet.length,
        local_port: packet.local_port,
        remote_port: packet.remote_port,
        family: packet.family,
        protocol: packet.protocol as u16,
        direction: direction as u16,
        local: packet.local,
        remote: packet.remote,
        errno: 0,
        operation: 0,
    });
}

/// Hands an event over, if there is room for it.
#[inline(always)]
pub(super) fn submit(event: impl FnOnce() -> NetEvent) {
    let Some(mut entry) = EVENTS.reserve::<NetEvent>(0) else { return };
    entry.write(event());
    entry.submit(0);
}
