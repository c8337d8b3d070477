//! The interfaces of a network namespace, and word of it when they change.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd},
};

use netlink_packet_core::NLM_F_ACK;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkFlags, LinkMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::netlink;

/// `RTNLGRP_LINK` as a bit of the group mask.
const RTMGRP_LINK: u32 = 1;

/// Index → name of every interface of the calling thread's network namespace.
pub(super) fn list() -> io::Result<BTreeMap<u32, String>> {
    let interfaces = nix::net::if_::if_nameindex()?;
    Ok(interfaces
        .iter()
        .map(|interface| (interface.index(), interface.name().to_string_lossy().into_owned()))
        .collect())
}

/// Whether an interface of the calling thread's network namespace is there and up.
pub(super) fn is_up(index: u32) -> io::Result<bool> {
    Ok(link(index)?.is_some_and(|link| link.header.flags.contains(LinkFlags::Up)))
}

/// How many packets could not be sent by an interface for want of room in its queue.
pub(super) fn dropped(index: u32) -> io::Result<u64> {
    let attributes = link(index)?.map(|link| link.attributes).unwrap_or_default();
    let dropped = |attribute| {
        if let LinkAttribute::Stats64(stats) = attribute { Some(stats.tx_dropped) } else { None }
    };
    Ok(attributes.into_iter().find_map(dropped).unwrap_or(0))
}

fn link(index: u32) -> io::Result<Option<LinkMessage>> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    let answers = match netlink::request(RouteNetlinkMessage::GetLink(link), NLM_F_ACK) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
        answers => answers?,
    };
    let found = |answer| {
        if let RouteNetlinkMessage::NewLink(link) = answer { Some(link) } else { None }
    };
    Ok(answers.into_iter().find_map(found))
}

/// Whether there was word of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Something,
    Nothing,
}

/// Hears of every interface that comes, goes or changes in one network namespace.
pub(super) struct Watch {
    socket: Socket,
}

impl Watch {
    /// Listens in the calling thread's network namespace, and stays there.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, RTMGRP_LINK))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Readable when something changed.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Takes what was heard. What it was does not matter: the list is read again anyway, which also
    /// covers a message that was lost for want of room.
    pub(super) fn clear(&self) -> Heard {
        let mut heard = Heard::Nothing;
        loop {
            match self.socket.recv_from_full() {
                Ok(_) => heard = Heard::Something,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return heard,
                // Such as ENOBUFS: more was said than could be kept.
                Err(_) => return Heard::Something,
            }
        }
    }
}
