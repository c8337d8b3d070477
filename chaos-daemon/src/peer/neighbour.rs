//! A cgroup of this node, as the target meets it: by the addresses of the network namespaces that its processes are
//! in, or, where the target is there too, by its sockets.

use std::{
    io,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd},
};

use chaos_common::{
    fault::{Neighbour, Others},
    target::Target,
};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use super::{PeerError, Seeker};
use crate::{
    netns,
    target::{self, Cgroup},
};

pub(super) fn find(seeker: Seeker<'_>, peer: &Target) -> Result<Others, PeerError> {
    let of_peer = |source| PeerError::Peer { peer: peer.clone(), source };
    let cgroup = target::resolve(seeker.root, peer).map_err(of_peer)?;
    let theirs =
        target::network_namespaces(seeker.root, &cgroup.path, &|_| false).map_err(of_peer)?;
    if theirs.is_empty() {
        return Err(PeerError::Empty(peer.clone()));
    }
    let own = target::namespaces_of(seeker.processes()?);
    if own.is_empty() {
        return Err(PeerError::NobodyMeets(seeker.target.path.clone()));
    }
    let mut found = Others::default();
    for namespace in &theirs {
        let Some(handle) = &namespace.handle else { continue };
        if own.iter().any(|(inode, _)| *inode == namespace.inode) {
            let Cgroup { path, id, level } = cgroup.clone();
            found.cgroups = vec![Neighbour { path, id, level }];
        } else {
            let there =
                addresses_in(handle.as_fd()).map_err(PeerError::kernel("list addresses"))?;
            found.addresses.extend(there);
        }
    }
    if found.is_empty() { Err(PeerError::Unreachable(peer.clone())) } else { Ok(found) }
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
