//! `sock_diag`: all internet sockets of the current network namespace, with the cgroup of each.

use std::{collections::HashMap, io, net};

use chaos_common::fault::Protocol;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    Nla as _,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP},
    inet::{
        ExtensionFlags, InetRequest, InetResponse, InetResponseHeader, SocketId, StateFlags,
        nlas::Nla,
    },
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use nix::errno::Errno;

/// `INET_DIAG_CGROUP_ID` of `linux/inet_diag.h`, since Linux 5.9.
const CGROUP_ID: u16 = 21;

/// States of `net/tcp_states.h`.
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// More than the kernel puts into one answer of a dump.
const BUFFER: usize = 64 << 10;

/// Inode of each socket to the id of the cgroup in which it was made. `None` if this kernel cannot tell.
/// Raw sockets are left out where the kernel has no `INET_RAW_DIAG`, and IPv6 where it has none.
///
/// # Errors
/// What the kernel said.
pub(super) fn sockets() -> io::Result<Option<HashMap<u64, u64>>> {
    let mut found = HashMap::new();
    for protocol in [IPPROTO_TCP, IPPROTO_UDP, IPPROTO_RAW] {
        for family in [AF_INET, AF_INET6] {
            let needed = protocol != IPPROTO_RAW && family == AF_INET;
            match dump(family, protocol, &mut found) {
                Ok(Known::Yes) => {}
                Ok(Known::No) => return Ok(None),
                Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
                    if needed {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(found))
}

/// A socket that has a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundSocket {
    /// Its own end.
    pub address: net::SocketAddr,
    /// As in `socket:[4711]`.
    pub inode: u32,
    /// It has its port at `::` for IPv6 only.
    pub only_v6: bool,
    /// It listens, or is of UDP and connected to nobody.
    pub receives: bool,
}

/// All sockets of a protocol in the current network namespace. Those of TCP that are bound and nothing else are
/// among them since Linux 6.8.
///
/// # Errors
/// What the kernel said; it may have been built without `INET_DIAG`.
pub fn bound_sockets(protocol: Protocol) -> io::Result<Vec<BoundSocket>> {
    let protocol = match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
        // It has no ports.
        Protocol::Icmp => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        each_socket(family, protocol, |socket| found.push(bound(socket)))?;
    }
    Ok(found)
}

fn bound(socket: &InetResponse) -> BoundSocket {
    let InetResponseHeader { socket_id, state, inode, .. } = &socket.header;
    BoundSocket {
        address: net::SocketAddr::new(socket_id.source_address, socket_id.source_port),
        inode: *inode,
        only_v6: socket.nlas.contains(&Nla::SkV6Only(true)),
        receives: matches!(*state, TCP_CLOSE | TCP_LISTEN),
    }
}

/// Whether the kernel said where each socket was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Yes,
    No,
}

pub(super) fn dump(family: u8, protocol: u8, found: &mut HashMap<u64, u64>) -> io::Result<Known> {
    let mut known = Known::Yes;
    each_socket(family, protocol, |socket| {
        if let Known::No = note(socket, found) {
            known = Known::No;
        }
    })?;
    Ok(known)
}

/// Shows each socket of a family and a protocol in the current network namespace.
///
/// # Errors
/// What the kernel said.
#[expect(clippy::wildcard_enum_match_arm, reason = "the crate's enum is not exhaustive")]
pub(crate) fn each_socket(
    family: u8,
    protocol: u8,
    mut each: impl FnMut(&InetResponse),
) -> io::Result<()> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(family, protocol), 0)?;
    let mut buffer: Vec<u8> = Vec::with_capacity(BUFFER);
    loop {
        buffer.clear();
        socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let length =
                NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?.length() as usize;
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    each(&socket);
                }
                NetlinkPayload::Done(done) if done.code < 0 => {
                    return Err(io::Error::from_raw_os_error(done.code.saturating_neg()));
                }
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::Overrun(_) => return Err(io::Error::from(Errno::ENOBUFS)),
                _ => {}
            }
            // Messages are padded to four bytes, but for the last one.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

fn request(family: u8, protocol: u8) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let socket_id = if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() };
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        // Every state, also those that the crate does not know: `TCP_BOUND_INACTIVE` of Linux 6.8.
        states: StateFlags::from_bits_retain(u32::MAX),
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn note(socket: &InetResponse, found: &mut HashMap<u64, u64>) -> Known {
    // Nobody holds a socket without an inode: it waits out the end of its connection, or for accept().
    let inode = match socket.header.inode {
        0 => return Known::Yes,
        inode => u64::from(inode),
    };
    match made_in(socket) {
        Some(id) => {
            found.insert(inode, id);
            Known::Yes
        }
        None => Known::No,
    }
}

/// The id of the cgroup in which a socket was made, if the kernel tells.
pub(crate) fn made_in(socket: &InetResponse) -> Option<u64> {
    let attribute = socket.nlas.iter().find(|attribute| attribute.kind() == CGROUP_ID)?;
    let mut value = vec![0; attribute.value_len()];
    Nla::emit_value(attribute, &mut value);
    value.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;

    use super::*;

    fn response(inode: u32, attributes: &[Nla]) -> InetResponse {
        let header = InetResponseHeader {
            family: AF_INET,
            state: 0,
            timer: None,
            socket_id: SocketId::new_v4(),
            recv_queue: 0,
            send_queue: 0,
            uid: 0,
            inode,
        };
        InetResponse { header, nlas: attributes.iter().cloned().collect() }
    }

    #[test]
    fn a_kernel_that_does_not_say_where_is_told_from_one_without_sockets() {
        let mut found = HashMap::new();
        let id = Nla::Other(DefaultNla::new(CGROUP_ID, 4711_u64.to_ne_bytes().into()));
        let short = Nla::Other(DefaultNla::new(CGROUP_ID, vec![1]));
        let other = Nla::Shutdown(0);
        for (inode, attributes, known) in [
            (0, &[][..], Known::Yes),
            (1, &[other.clone(), id], Known::Yes),
            (2, &[], Known::No),
            (3, &[other], Known::No),
            (4, &[short], Known::No),
        ] {
            assert_eq!(note(&response(inode, attributes), &mut found), known, "{inode}");
        }
        assert_eq!(found, HashMap::from([(1, 4711)]));
    }
}
