//! Ending sockets of a target: open TCP connections, both ends of each, and what was connected elsewhere than it was to;
//! by `SOCK_DESTROY` of sock_diag.

use std::{
    collections::HashSet,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsFd as _, OwnedFd},
};

use chaos_common::fault::NetworkFilter;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP},
    inet::{ExtensionFlags, InetRequest, InetResponse, InetResponseHeader, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};
use nix::errno::Errno;

use super::{KernelError, namespace};
use crate::{
    netns,
    target::{self, Cgroup, CgroupRoot, TargetError},
};

/// States of `net/tcp_states.h` in which a socket has somebody at the other end: established, being opened, and closed
/// there. (What is being opened from there has no socket yet, and so belongs to no cgroup.)
const OPEN: [u8; 4] = [1, 2, 3, 8];
/// Those in which it was closed from here, and may have nobody who would notice.
const CLOSED_HERE: [u8; 4] = [4, 5, 9, 11];

/// Which connections of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// By their ends.
    pub filter: NetworkFilter,
    /// The seed of the rule, for a share of them.
    pub seed: u64,
}

impl Wanted {
    fn has(&self, socket: &InetResponseHeader) -> bool {
        let SocketId { source_address, source_port, destination_address, destination_port, .. } =
            socket.socket_id;
        let local = SocketAddr::new(source_address, source_port);
        let remote = SocketAddr::new(destination_address, destination_port);
        // Without an inode nobody has it any more, and many kernels let it be.
        let is_there = OPEN.contains(&socket.state)
            || (CLOSED_HERE.contains(&socket.state) && socket.inode != 0);
        is_there && self.filter.has_connection(self.seed, local, remote)
    }
}

/// Resets those of a target, and of all below it, in each network namespace of its processes. Says how many sockets of
/// it that were.
pub(super) fn reset(
    root: &CgroupRoot,
    target: &Cgroup,
    wanted: &Wanted,
) -> Result<u64, KernelError> {
    let cgroups =
        target::walk(root, &target.path).map_err(failed("list the cgroups below", target))?;
    let cgroups: HashSet<u64> = cgroups.iter().map(|cgroup| cgroup.id).collect();
    in_namespaces(of_target(root, target)?, || reset_here(&cgroups, wanted))
}

/// Ends the sockets in network namespaces that have these cookies, as far as this kernel ends sockets on request: where it
/// does not, they stay as they are until they are closed.
pub(super) fn end(cookies: &HashSet<u64>, places: Vec<(u64, OwnedFd)>) {
    for (inode, handle) in places {
        let ended = netns::within(handle.as_fd(), || end_here(cookies));
        match ended.and_then(std::convert::identity) {
            Ok(count) => {
                tracing::debug!(count, inode, "sockets ended that were connected elsewhere");
            }
            Err(error) => {
                tracing::warn!(%error, inode, "sockets may stay connected elsewhere until they are closed");
            }
        }
    }
}

/// The network namespaces of a target's processes, all opened; none if it is gone.
fn of_target(root: &CgroupRoot, target: &Cgroup) -> Result<Vec<(u64, OwnedFd)>, KernelError> {
    let places = target::network_namespaces(root, &target.path, &|_| false)
        .map_err(failed("find the network namespaces of the processes in", target))?;
    Ok(places.into_iter().filter_map(|place| Some((place.inode, place.handle?))).collect())
}

fn failed(what: &'static str, target: &Cgroup) -> impl FnOnce(TargetError) -> KernelError {
    let place = target.path.to_string();
    move |error| KernelError::Hook { what, place, reason: error.to_string() }
}

/// Does something in each of some network namespaces, and adds up.
fn in_namespaces(
    places: Vec<(u64, OwnedFd)>,
    here: impl Fn() -> io::Result<u64> + Sync,
) -> Result<u64, KernelError> {
    let mut count = 0;
    for (inode, handle) in places {
        let done = netns::within(handle.as_fd(), &here);
        count += done
            .and_then(std::convert::identity)
            .map_err(|error| namespace::failed("end connections in", inode, &error))?;
    }
    Ok(count)
}

fn end_here(cookies: &HashSet<u64>) -> io::Result<u64> {
    let is_wanted = |socket: &InetResponse| cookies.contains(&cookie(&socket.header.socket_id));
    let mut count = 0;
    for protocol in [IPPROTO_UDP, IPPROTO_TCP] {
        let ended = find(protocol, is_wanted).and_then(destroy_all);
        // Each has a module of its own, which a kernel may not have.
        count += match ended {
            Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::EOPNOTSUPP) => 0,
            ended => ended?,
        };
    }
    Ok(count)
}

/// The kernel's number of a socket, whose lower half comes first.
fn cookie(id: &SocketId) -> u64 {
    let [a, b, c, d, e, f, g, h] = id.cookie;
    u64::from(u32::from_ne_bytes([e, f, g, h])) << 32 | u64::from(u32::from_ne_bytes([a, b, c, d]))
}

/// The same in the current network namespace.
fn reset_here(cgroups: &HashSet<u64>, wanted: &Wanted) -> io::Result<u64> {
    let found = find(IPPROTO_TCP, |socket| {
        let is_of_target = target::made_in(socket).is_some_and(|id| cgroups.contains(&id));
        is_of_target && wanted.has(&socket.header)
    })?;
    destroy_all(found)
}

/// A socket: family, protocol, and its ends.
type Found = (u8, u8, SocketId);

/// The sockets of a protocol in the current network namespace that are wanted.
fn find(protocol: u8, is_wanted: impl Fn(&InetResponse) -> bool) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let listed = target::each_socket(family, protocol, |socket| {
            if is_wanted(socket) {
                found.push((family, protocol, socket.header.socket_id.clone()));
            }
        });
        match listed {
            // A kernel without IPv6.
            Err(error) if family == AF_INET6 && is(&error, Errno::ENOENT) => {}
            listed => listed?,
        }
    }
    Ok(found)
}

fn destroy_all(found: Vec<Found>) -> io::Result<u64> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    let mut count = 0;
    for found in found {
        match destroy(&socket, found) {
            Ok(()) => count += 1,
            // It ended meanwhile: perhaps with its other end, which is of the target too.
            Err(error) if is(&error, Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// Ends the one socket that has this id: its cookie is never another's.
#[expect(clippy::wildcard_enum_match_arm, reason = "the crate's enum is not exhaustive")]
fn destroy(socket: &Socket, (family, protocol, id): Found) -> io::Result<()> {
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::from_bits_retain(u32::MAX),
        socket_id: id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK;
    let request = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &netlink_sys::SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer =
        NetlinkMessage::<SockDiagMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        NetlinkPayload::Error(_) => Ok(()),
        _ => Err(io::Error::from(Errno::EPROTO)),
    }
}

/// Whether this kernel tells of which cgroup a socket is, and ends it: tried with one of our own, in a network namespace
/// made for it.
pub(super) fn probe() -> Result<(), String> {
    netns::within_fresh(|| try_here().map_err(|error| reason(&error)))
        .unwrap_or_else(|error| Err(format!("make a network namespace to try in: {error}")))
}

const NO_CGROUPS: &str =
    "this kernel does not tell which cgroup a socket is of (it does from Linux 5.9 on)";

/// Whether this kernel ends a socket of UDP, tried in the same way.
pub(super) fn probe_datagrams() -> Result<(), String> {
    netns::within_fresh(|| try_datagrams().map_err(|error| reason(&error)))
        .unwrap_or_else(|error| Err(format!("make a network namespace to try in: {error}")))
}

fn try_datagrams() -> io::Result<()> {
    let _socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let found = find(IPPROTO_UDP, |_| true)?;
    let Some(socket) = found.into_iter().next() else { return Err(io::Error::from(Errno::ENOENT)) };
    destroy(&Socket::new(NETLINK_SOCK_DIAG)?, socket)
}

fn try_here() -> io::Result<()> {
    let _listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let mut found: Option<InetResponse> = None;
    target::each_socket(AF_INET, IPPROTO_TCP, |socket| found = Some(socket.clone()))?;
    let Some(socket) = found else { return Err(io::Error::from(Errno::ENOENT)) };
    if target::made_in(&socket).is_none() {
        return Err(io::Error::other(NO_CGROUPS));
    }
    destroy(&Socket::new(NETLINK_SOCK_DIAG)?, (AF_INET, IPPROTO_TCP, socket.header.socket_id))
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EOPNOTSUPP) => {
            "this kernel ends no connection on request (CONFIG_INET_DIAG_DESTROY)".into()
        }
        Some(Errno::ENOENT) => "this kernel does not tell of its sockets (CONFIG_INET_DIAG)".into(),
        Some(_) | None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn socket(state: u8, remote: &str, port: u16) -> InetResponseHeader {
        let (local, remote): (IpAddr, IpAddr) =
            ("10.0.0.1".parse().unwrap(), remote.parse().unwrap());
        let socket_id = SocketId {
            source_address: local,
            source_port: 5000,
            destination_address: remote,
            destination_port: port,
            ..SocketId::new_v4()
        };
        InetResponseHeader {
            family: AF_INET,
            state,
            timer: None,
            socket_id,
            recv_queue: 0,
            send_queue: 0,
            uid: 0,
            inode: 1,
        }
    }

    #[test]
    fn what_is_open_and_matches_is_reset() {
        let filter = NetworkFilter {
            remote_ports: vec!["80".parse().unwrap()].try_into().unwrap(),
            ..Default::default()
        };
        let wanted = Wanted { filter, seed: 1 };
        const ESTABLISHED: u8 = 1;
        const TIME_WAIT: u8 = 6;
        const LISTEN: u8 = 10;
        for (state, port, is_reset) in [
            (ESTABLISHED, 80, true),
            (ESTABLISHED, 81, false),
            (TIME_WAIT, 80, false),
            (LISTEN, 80, false),
        ] {
            assert_eq!(wanted.has(&socket(state, "10.0.0.2", port)), is_reset, "{state} {port}");
        }
    }

    #[test]
    fn this_kernel_does_it_or_says_why_not() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: a network namespace takes root");
            return;
        }
        if let Err(reason) = probe() {
            assert!(reason.contains("kernel"), "{reason}");
            eprintln!("unsupported: {reason}");
        }
    }
}
