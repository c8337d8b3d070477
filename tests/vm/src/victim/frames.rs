//! Frames as they are, whatever is in them: to a program alone, or out of an interface.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use bpf_witness::{Kind, Object, Trial};
use nix::{
    libc,
    sched::{CpuSet, sched_setaffinity},
    sys::{
        socket::{
            AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind,
            recvfrom, send, setsockopt, socket,
            sockopt::{RcvBufForce, ReceiveTimeout},
        },
        time::TimeVal,
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

/// What a program made of a frame.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// `None` if the kernel runs no program on it.
    pub(crate) verdict: Option<i32>,
    /// The frame, if it is not as it was.
    pub(crate) changed: Option<Vec<u8>>,
}

/// What an interface saw of a frame and whatever came of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Frames that left.
    pub(crate) left: Vec<Vec<u8>>,
    /// Frames that came.
    pub(crate) came: Vec<Vec<u8>>,
}

pub(super) fn try_all(program: u32, interface: u32, frames: &[Vec<u8>]) -> Result<Vec<Tried>> {
    let trial = Trial::of(Object { kind: Kind::Program, id: program })?;
    let one = |frame: &Vec<u8>| {
        Ok(match trial.run(interface, frame)? {
            Some((verdict, after)) => {
                Tried { verdict: Some(verdict), changed: (after != *frame).then_some(after) }
            }
            None => Tried { verdict: None, changed: None },
        })
    };
    frames.iter().map(one).collect()
}

/// What came of a frame has its sender at one of its ends; a last one has another sender.
pub(super) fn transmit(interface: u32, frames: &[Vec<u8>], last: &[u8]) -> Result<Vec<Seen>> {
    let from = |frame: &[u8]| frame.get(6..12).map(<[u8]>::to_vec).context("half a frame");
    let end = from(last)?;
    // What comes back waits in a queue of the CPU: with one of them, the answer to the last is behind all else.
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("cannot stay on a CPU")?;
    let ear = bound(interface, libc::ETH_P_ALL as u16)?;
    setsockopt(&ear, RcvBufForce, &(16 << 20))?;
    setsockopt(&ear, ReceiveTimeout, &TimeVal::new(10, 0))?;
    // It hears nothing itself.
    let mouth = bound(interface, 0)?;
    let say = |frame: &[u8]| {
        send(mouth.as_raw_fd(), frame, MsgFlags::empty()).context("cannot send a frame")
    };
    let mut buffer = vec![0; 1 << 16];
    let one = |frame: &Vec<u8>| {
        let own = from(frame)?;
        say(frame)?;
        say(last)?;
        let mut seen = Seen::default();
        loop {
            let (length, side) = recvfrom::<LinkAddr>(ear.as_raw_fd(), &mut buffer)
                .context("the answer to the last frame is missing")?;
            let heard = &buffer[..length];
            let leaves = side.context("a frame from nowhere")?.pkttype() == libc::PACKET_OUTGOING;
            let (to, rest) = heard.split_at_checked(6).context("half a frame")?;
            if to == end && !leaves {
                return Ok(seen);
            }
            if to == own || rest.starts_with(&own) {
                let side = if leaves { &mut seen.left } else { &mut seen.came };
                side.push(heard.to_vec());
            }
        }
    };
    frames.iter().map(one).collect()
}

/// A socket for frames of an interface; without a protocol it takes none.
fn bound(interface: u32, protocol: u16) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot open a socket for frames")?;
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of_val(&address) as u32;
    // SAFETY: an address of that family and length.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    bind(socket.as_raw_fd(), &address.context("no address of an interface")?)
        .context("cannot bind to an interface")?;
    Ok(socket)
}
