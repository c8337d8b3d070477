//! Where packets are judged.

use chaos_common::abi::{Action, Direction};

/// Where a packet is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// On its way out of an interface: every action.
    Egress = 0,
    /// On its way into an interface: whatever keeps or changes it.
    Arrival = 1,
    /// Where a socket is about to take it: whatever ends it.
    Socket = 2,
}

impl Hook {
    pub(super) const COUNT: u32 = 3;

    /// Which way packets go there, seen from the target.
    #[inline(always)]
    pub const fn direction(self) -> Direction {
        match self {
            Self::Egress => Direction::Out,
            Self::Arrival | Self::Socket => Direction::In,
        }
    }

    #[inline(always)]
    pub const fn of(number: u32) -> Self {
        match number {
            0 => Self::Egress,
            1 => Self::Arrival,
            _ => Self::Socket,
        }
    }

    /// Whether an action is carried out here.
    #[inline(always)]
    pub(super) fn does(self, action: u32) -> bool {
        match self {
            Self::Egress => Action::is_of_packets(action),
            Self::Arrival => action != Action::Drop as u32 && Action::is_of_packets(action),
            Self::Socket => action == Action::Drop as u32,
        }
    }
}
