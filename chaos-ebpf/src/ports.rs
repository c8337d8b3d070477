//! Sets of ports.

use chaos_common::abi::{MAX_PORT_RANGES, PortSet};

/// Whether a set has a port, if there is one at all.
#[inline(always)]
#[must_use]
pub fn has_port(set: &PortSet, known: bool, port: u16) -> bool {
    if set.len == 0 {
        return true;
    }
    if !known {
        return false;
    }
    for at in 0..MAX_PORT_RANGES {
        if at >= set.len as usize {
            break;
        }
        let range = set.ranges[at];
        if range.first <= port && port <= range.last {
            return true;
        }
    }
    false
}
