//! Addresses of a cgroup of this node: those of the network namespaces that its processes are in.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd},
};

use chaos_common::target::Target;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use super::{PeerError, Seeker};
use crate::{
    netns,
    target::{self, NetNsRef},
};

pub(super) fn addresses(seeker: Seeker<'_>, peer: &Target) -> Result<BTreeSet<IpAddr>, PeerError> {
    let of_peer = |source| PeerError::Peer { peer: peer.clone(), source };
    let cgroup = target::resolve(seeker.root, peer).map_err(of_peer)?;
    let theirs =
        target::network_namespaces(seeker.root, &cgroup.path, &|_| false).map_err(of_peer)?;
    if theirs.is_empty() {
        return Err(PeerError::Empty(peer.clone()));
    }
    let own = target::namespaces_of(seeker.processes()?);
    if theirs.iter().any(|namespace| own.iter().any(|(inode, _)| *inode == namespace.inode)) {
        return Err(PeerError::Shared(peer.clone()));
    }
    let mut all = BTreeSet::new();
    for NetNsRef { handle, .. } in &theirs {
        let Some(handle) = handle else { continue };
        all.extend(addresses_in(handle.as_fd()).map_err(PeerError::kernel("list addresses"))?);
    }
    if all.is_empty() { Err(PeerError::Unreachable(peer.clone())) } else { Ok(all) }
}

/// All addresses in a network namespace by which others reach it.
fn addresses_in(namespace: BorrowedFd<'_>) -> io::Result<Vec<IpAddr>> {
    netns::within(namespace, || {
        let all = getifaddrs()?.filter(|entry| !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK));
        let address = |entry: nix::ifaddrs::InterfaceAddress| {
            let address = entry.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        };
        Ok(all.filter_map(address).collect())
    })?
}
