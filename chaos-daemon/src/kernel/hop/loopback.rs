//! The loopback, which loses what was on another device: it gets an `fq` of ours for as long as it is needed, if it has
//! no qdisc.

use std::io;

use chaos_common::abi::LoopbackHold;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcHandle, TcMessage},
};

use super::{
    super::netlink::{absent_is_fine, qdiscs, request},
    queue::{ROOT, add_fq},
};

/// Of the loopback, in every network namespace.
pub(super) const LOOPBACK: u32 = 1;
/// Of our qdisc there; nobody else's is ever taken for it.
const LOOPBACK_HANDLE: TcHandle = TcHandle { major: 0x0C4A, minor: 0 };

/// Whether packets on the loopback are held too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Loopback {
    /// By it or by the hop.
    Holds(LoopbackHold),
    /// They are not.
    Passes,
}

impl Loopback {
    /// Whether it is still as it was made.
    pub(in crate::kernel) fn is_there(self) -> io::Result<bool> {
        match self {
            Self::Holds(LoopbackHold::Itself) => has_fq(),
            Self::Holds(LoopbackHold::Hop) | Self::Passes => Ok(true),
        }
    }
}

/// Lets the loopback hold packets by itself, unless somebody else gave it a qdisc.
pub(super) fn give_fq() -> io::Result<Loopback> {
    let holds = Loopback::Holds(LoopbackHold::Itself);
    if has_fq()? {
        return Ok(holds);
    }
    match add_fq(LOOPBACK, LOOPBACK_HANDLE) {
        Ok(()) => Ok(holds),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(Loopback::Passes),
        Err(error) => Err(error),
    }
}

/// Whether the loopback has our `fq`.
pub(super) fn has_fq() -> io::Result<bool> {
    Ok(qdiscs(LOOPBACK)?.iter().any(|qdisc| qdisc.header.handle == LOOPBACK_HANDLE))
}

/// Takes it away again. Nothing there is no error.
pub(super) fn release() -> io::Result<()> {
    if !has_fq()? {
        return Ok(());
    }
    let mut message = TcMessage::with_index(LOOPBACK as i32);
    message.header.parent = ROOT;
    message.header.handle = LOOPBACK_HANDLE;
    absent_is_fine(request(RouteNetlinkMessage::DelQueueDiscipline(message), NLM_F_ACK))
}
