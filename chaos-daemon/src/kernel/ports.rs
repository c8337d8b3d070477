//! Ports that are taken: sockets of ours in the network namespaces of targets' processes.
//!
//! One of TCP is bound and does not listen: whoever connects is refused, as where nobody serves. One of UDP takes
//! nothing in. None of them lets its port be shared, so nobody can bind beside it, whatever he offers. They end
//! with this process.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::{AsFd as _, BorrowedFd},
};

use chaos_common::{
    fault::{NetworkOccupy, Protocol},
    value::PortRange,
};
use nix::errno::Errno;
use socket2::{Domain, SockFilter, Socket, Type};

use super::{KernelError, RuleId, namespace};
use crate::{
    netns,
    target::{self, BoundSocket, Cgroup, CgroupRoot},
};

/// A filter that ends with this takes no packet in.
const NOTHING: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

pub(super) struct Ports {
    root: CgroupRoot,
    held: HashMap<RuleId, Held>,
}

/// What is held for one rule.
struct Held {
    target: Cgroup,
    wanted: NetworkOccupy,
    /// By the inode of the network namespace.
    places: BTreeMap<u64, Vec<Socket>>,
    /// Namespaces that came later and where it failed, which has been said.
    failed: BTreeSet<u64>,
}

/// One port of one protocol at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Port {
    protocol: Protocol,
    address: SocketAddr,
}

/// Why a port was not taken.
enum Failure {
    /// Somebody has it: the inode of his socket, where the kernel tells.
    Taken(Port, Option<u32>),
    Other(Port, io::Error),
}

impl Ports {
    pub(super) fn new(root: CgroupRoot) -> Self {
        Self { root, held: HashMap::new() }
    }

    /// Looks whether the ports are free, without taking them. What the kernel does not show is not seen.
    pub(super) fn admit(&self, target: &Cgroup, wanted: &NetworkOccupy) -> Result<(), KernelError> {
        for (inode, handle) in self.places(target)? {
            if let Some(port) = ports(wanted).find(|port| self.holder(inode, *port).is_some()) {
                return Err(self.refusal(inode, Failure::Taken(port, None)));
            }
            let seen = netns::within(handle.as_fd(), || first_taken(wanted));
            let taken = seen.map_err(|error| namespace::failed("look into", inode, &error))?;
            if let Some((port, socket)) = taken {
                return Err(self.refusal(inode, Failure::Taken(port, Some(socket))));
            }
        }
        Ok(())
    }

    /// Takes the ports in every network namespace of a target, or none at all.
    pub(super) fn hold(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &NetworkOccupy,
    ) -> Result<(), KernelError> {
        if self.held.contains_key(&rule) {
            return Ok(());
        }
        let mut places = BTreeMap::new();
        for (inode, handle) in self.places(target)? {
            places.insert(inode, self.take(inode, handle.as_fd(), wanted)?);
        }
        self.insert(rule, target, wanted, places);
        Ok(())
    }

    /// As [`Ports::hold`], for a target that may have no process now.
    pub(super) fn hold_again(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &NetworkOccupy,
    ) -> Result<(), KernelError> {
        match self.hold(rule, target, wanted) {
            Err(KernelError::TargetEmpty { .. }) => {
                self.insert(rule, target, wanted, BTreeMap::new());
                Ok(())
            }
            held => held,
        }
    }

    pub(super) fn free(&mut self, rule: RuleId) {
        self.held.remove(&rule);
    }

    /// Follows the targets' processes into the network namespaces that they use now. A target without
    /// processes keeps what it had, since a unit that restarts comes back to the same place.
    pub(super) fn refresh(&mut self) -> Result<(), KernelError> {
        let mut result = Ok(());
        let rules: Vec<RuleId> = self.held.keys().copied().collect();
        for rule in rules {
            result = result.and(self.follow(rule));
        }
        result
    }

    fn follow(&mut self, rule: RuleId) -> Result<(), KernelError> {
        let Some(held) = self.held.get(&rule) else { return Ok(()) };
        let found = self.locate(&held.target, &|inode| held.places.contains_key(&inode))?;
        if found.is_empty() {
            return Ok(());
        }
        let mut result = Ok(());
        let (mut taken, mut failed) = (BTreeMap::new(), BTreeSet::new());
        for namespace in &found {
            let Some(handle) = &namespace.handle else { continue };
            match self.take(namespace.inode, handle.as_fd(), &held.wanted) {
                Ok(sockets) => drop(taken.insert(namespace.inode, sockets)),
                Err(error) => {
                    if !held.failed.contains(&namespace.inode) {
                        result = result.and(Err(error));
                    }
                    failed.insert(namespace.inode);
                }
            }
        }
        if let Some(held) = self.held.get_mut(&rule) {
            held.places.retain(|inode, _| found.iter().any(|namespace| namespace.inode == *inode));
            held.places.append(&mut taken);
            held.failed = failed;
        }
        result
    }

    fn insert(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &NetworkOccupy,
        places: BTreeMap<u64, Vec<Socket>>,
    ) {
        let (target, wanted) = (target.clone(), wanted.clone());
        self.held.insert(rule, Held { target, wanted, places, failed: BTreeSet::new() });
    }

    /// The network namespaces of a target's processes, of which there must be one.
    fn places(&self, target: &Cgroup) -> Result<Vec<(u64, std::os::fd::OwnedFd)>, KernelError> {
        let found = self.locate(target, &|_| false)?.into_iter();
        let places: Vec<_> = found.filter_map(|place| Some((place.inode, place.handle?))).collect();
        if places.is_empty() {
            return Err(KernelError::TargetEmpty { cgroup: target.path.to_string() });
        }
        Ok(places)
    }

    fn locate(
        &self,
        target: &Cgroup,
        known: &dyn Fn(u64) -> bool,
    ) -> Result<Vec<target::NetNsRef>, KernelError> {
        let found = target::network_namespaces(&self.root, &target.path, known);
        found.map_err(|error| KernelError::Hook {
            what: "find the network namespaces of the processes in",
            place: target.path.to_string(),
            reason: error.to_string(),
        })
    }

    fn take(
        &self,
        inode: u64,
        handle: BorrowedFd<'_>,
        wanted: &NetworkOccupy,
    ) -> Result<Vec<Socket>, KernelError> {
        let taken = netns::within(handle, || take_all(wanted));
        taken
            .map_err(|error| namespace::failed("enter", inode, &error))?
            .map_err(|failure| self.refusal(inode, failure))
    }

    /// For which rule a port is held in a namespace.
    fn holder(&self, inode: u64, port: Port) -> Option<RuleId> {
        let mut there = self.held.iter().filter(|(_, held)| held.places.contains_key(&inode));
        let (rule, _) = there.find(|(_, held)| {
            ports_at(&held.wanted, port.protocol, port.address.port()).any(|held| held.meets(port))
        })?;
        Some(*rule)
    }

    fn refusal(&self, inode: u64, failure: Failure) -> KernelError {
        match failure {
            Failure::Taken(port, socket) => match self.holder(inode, port) {
                Some(rule) => KernelError::PortHeld { port: port.to_string(), rule },
                None => {
                    let process = socket.and_then(target::process_of_socket);
                    let by = process.map(|(pid, comm)| format!(" by {comm} (pid {pid})"));
                    KernelError::PortTaken { port: port.to_string(), by: by.unwrap_or_default() }
                }
            },
            Failure::Other(port, source) => KernelError::Port { port: port.to_string(), source },
        }
    }
}

impl Port {
    /// Whether two cannot be bound at once.
    fn meets(self, other: Self) -> bool {
        let (one, two) = (self.address.ip(), other.address.ip());
        self.protocol == other.protocol
            && self.address.port() == other.address.port()
            && one.is_ipv4() == two.is_ipv4()
            && (one == two || one.is_unspecified() || two.is_unspecified())
    }

    /// Whether somebody's socket is in the way.
    fn meets_socket(self, socket: &BoundSocket) -> bool {
        let (address, protocol) = (socket.address, self.protocol);
        let at = |ip| Self { protocol, address: SocketAddr::new(ip, address.port()) };
        match (address.ip(), self.address.ip()) {
            (IpAddr::V6(v6), IpAddr::V4(any)) if v6.is_unspecified() && !socket.only_v6 => {
                self.meets(at(any.into()))
            }
            (ip, _) => self.meets(at(ip.to_canonical())),
        }
    }

    fn sockets(self) -> impl Iterator<Item = BoundSocket> {
        let sockets = target::bound_sockets(self.protocol).unwrap_or_default();
        sockets.into_iter().filter(move |socket| self.meets_socket(socket))
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} port {} at {}", self.protocol, self.address.port(), self.address.ip())
    }
}

fn ports(wanted: &NetworkOccupy) -> impl Iterator<Item = Port> + '_ {
    let numbers = wanted.ports.ports();
    wanted.protocols.list().iter().flat_map(move |protocol| {
        numbers.clone().into_iter().flat_map(move |number| ports_at(wanted, *protocol, number))
    })
}

/// Those with a number, if it is among them.
fn ports_at(
    wanted: &NetworkOccupy,
    protocol: Protocol,
    number: u16,
) -> impl Iterator<Item = Port> + use<> {
    let in_range = |range: PortRange| (range.first()..=range.last()).contains(&number);
    let is_wanted =
        wanted.protocols.list().contains(&protocol) && wanted.ports.iter().any(in_range);
    let addresses = if is_wanted { wanted.addresses() } else { Vec::new() };
    let port = move |ip| Port { protocol, address: SocketAddr::new(ip, number) };
    addresses.into_iter().map(move |address| port(address.get()))
}

/// The first port that somebody has in the current namespace, as far as the kernel shows it, and the inode of his
/// socket. Connections are in nobody's way: those of a server that has ended outlive it.
fn first_taken(wanted: &NetworkOccupy) -> Option<(Port, u32)> {
    wanted.protocols.list().iter().find_map(|protocol| {
        let sockets = target::bound_sockets(*protocol).unwrap_or_default();
        let mut receiving = sockets.iter().filter(|socket| socket.receives);
        receiving.find_map(|socket| {
            let mut ports = ports_at(wanted, *protocol, socket.address.port());
            let port = ports.find(|port| port.meets_socket(socket))?;
            Some((port, socket.inode))
        })
    })
}

/// Takes all ports in the current namespace, or none.
fn take_all(wanted: &NetworkOccupy) -> Result<Vec<Socket>, Failure> {
    let mut sockets = Vec::new();
    for port in ports(wanted) {
        match take(port) {
            Ok(socket) => sockets.push(socket),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                // Nobody can bind to a family that is not there. Who asks for it is told so.
                Some(Errno::EAFNOSUPPORT) if wanted.address.is_none() => {}
                Some(Errno::EADDRINUSE) => {
                    // Without ours, so that they are not found.
                    drop(sockets);
                    let others: Vec<BoundSocket> = port.sockets().collect();
                    let found = others.iter().find(|socket| socket.receives);
                    let found = found.or(others.first()).map(|socket| socket.inode);
                    return Err(Failure::Taken(port, found));
                }
                Some(_) | None => return Err(Failure::Other(port, error)),
            },
        }
    }
    Ok(sockets)
}

fn take(port: Port) -> io::Result<Socket> {
    let is_stream = port.protocol == Protocol::Tcp;
    let kind = if is_stream { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(port.address), kind, None)?;
    if port.address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.attach_filter(&[SockFilter::new(NOTHING, 0, 0, 0)])?;
    if !is_stream {
        socket.bind(&port.address.into())?;
        return Ok(socket);
    }
    // Beside connections of a server that has ended, as the next one would. Once it has listened the kernel asks
    // every later socket whether it goes with this one, and without the option none does.
    socket.set_reuse_address(true)?;
    socket.bind(&port.address.into())?;
    socket.listen(0)?;
    socket.set_reuse_address(false)?;
    // It stays bound.
    socket.shutdown(Shutdown::Read)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, address: &str) -> Port {
        Port { protocol, address: address.parse().unwrap() }
    }

    #[test]
    fn what_cannot_be_bound_at_once() {
        use Protocol::{Tcp, Udp};
        for (one, two, meets) in [
            ((Tcp, "0.0.0.0:80"), (Tcp, "0.0.0.0:80"), true),
            ((Tcp, "0.0.0.0:80"), (Tcp, "127.0.0.1:80"), true),
            ((Tcp, "127.0.0.2:80"), (Tcp, "127.0.0.1:80"), false),
            ((Tcp, "0.0.0.0:80"), (Udp, "0.0.0.0:80"), false),
            ((Tcp, "0.0.0.0:80"), (Tcp, "0.0.0.0:81"), false),
            ((Tcp, "0.0.0.0:80"), (Tcp, "[::]:80"), false),
        ] {
            let (one, two) = (port(one.0, one.1), port(two.0, two.1));
            assert_eq!((one.meets(two), two.meets(one)), (meets, meets), "{one}, {two}");
        }
    }

    #[test]
    fn a_socket_of_both_families_is_in_the_way_of_both() {
        let socket = |address: &str, only_v6| BoundSocket {
            address: address.parse().unwrap(),
            inode: 1,
            only_v6,
            receives: true,
        };
        for (address, only_v6, v4, v6) in [
            ("[::]:80", false, true, true),
            ("[::]:80", true, false, true),
            ("[::1]:80", false, false, true),
            ("[::ffff:127.0.0.1]:80", false, true, false),
            ("0.0.0.0:80", false, true, false),
            ("[::]:81", false, false, false),
        ] {
            let socket = socket(address, only_v6);
            let meets = |wanted| port(Protocol::Tcp, wanted).meets_socket(&socket);
            assert_eq!((meets("0.0.0.0:80"), meets("[::]:80")), (v4, v6), "{address}");
        }
    }
}
