//! Those whom a filter names, once they are found.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;

use super::NetworkFilter;
use crate::{
    abi::{self, MAX_PEERS},
    invalid::Invalid,
    target::CgroupPath,
    value::Cidr,
};

/// Whom hosts and peers were found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Others {
    /// Of hosts, and of peers in other network namespaces than the target's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Peers in a network namespace of the target, whom addresses do not tell from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cgroups: Vec<Neighbour>,
}

/// A cgroup in a network namespace of the target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Neighbour {
    /// Where it is.
    pub path: CgroupPath,
    /// The kernel's id of it.
    pub id: u64,
    /// Its depth; the root's is 0.
    pub level: u32,
}

impl Others {
    /// Whether nobody was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.cgroups.is_empty()
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

impl NetworkFilter {
    /// The same, about those who were found for whom it names.
    ///
    /// # Errors
    /// When those are more than a filter can hold.
    pub fn aimed_at(mut self, others: &Others) -> Result<Self, Invalid> {
        let found = others.addresses.iter().map(|address| IpNet::from(*address).into());
        self.remote = self.remote.iter().chain(found).collect::<Vec<Cidr>>().try_into()?;
        let count = others.cgroups.len();
        if count > MAX_PEERS {
            let problem = format!(
                "{count} of them are in a network namespace of the target, where at most {MAX_PEERS} are told apart; name a cgroup that holds several"
            );
            return Err(Invalid::new(problem).at("peers"));
        }
        self.neighbours.clone_from(&others.cgroups);
        Ok(self)
    }

    /// The peers as the kernel reads them.
    pub(super) fn peers_to_abi(&self) -> [abi::Peer; MAX_PEERS] {
        let mut peers = [abi::Peer::default(); MAX_PEERS];
        for (slot, Neighbour { id, level, .. }) in peers.iter_mut().zip(&self.neighbours) {
            *slot = abi::Peer { cgroup: *id, level: u64::from(*level) };
        }
        peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(id: u64) -> Neighbour {
        Neighbour { path: "/a/b".parse().unwrap(), id, level: 2 }
    }

    #[test]
    fn a_peer_beside_the_target_is_for_the_kernel_alone() {
        let named: NetworkFilter =
            serde_json::from_str(r#"{"peers":[{"cgroup":"/a/b"}]}"#).unwrap();
        let others = Others { addresses: Vec::new(), cgroups: vec![neighbour(7)] };
        let aimed = named.clone().aimed_at(&others).unwrap();
        let rule = aimed.to_abi();
        assert_eq!(rule.peers[0], abi::Peer { cgroup: 7, level: 2 });
        assert!(rule.asks_peer() && rule.peers[1] == abi::Peer::default());
        assert_eq!(rule.remotes, abi::Remotes::Listed as u32);
        assert!(aimed.to_string().contains("/a/b by its sockets"), "{aimed}");
        assert_eq!(serde_json::to_string(&aimed).unwrap(), serde_json::to_string(&named).unwrap());
    }

    #[test]
    fn there_is_an_end_to_peers_beside_the_target() {
        let others =
            |count| Others { addresses: Vec::new(), cgroups: (1..=count).map(neighbour).collect() };
        assert!(NetworkFilter::default().aimed_at(&others(8)).is_ok());
        assert!(NetworkFilter::default().aimed_at(&others(9)).is_err());
    }
}
