//! What calls of targets sent elsewhere, and the sockets that are connected there. Entries outlive their rule, until those
//! sockets are ended.

use std::{
    collections::HashMap as Memory,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use aya::maps::{HashMap, Map, MapData};
use chaos_common::abi::{FAMILY_V4, Redirected, RedirectedKey};

use super::{
    KernelError, Pins, RuleId, connections,
    tables::{at, gone, typed},
};
use crate::target::{self, Cgroup, CgroupRoot};

/// Sockets by their cookies, which are never another's, and where they are connected to.
pub(super) type Connected = Memory<u64, SocketAddr>;

pub(super) const MAP: &str = "REDIRECTED";

pub(super) struct Redirects(HashMap<MapData, RedirectedKey, Redirected>);

impl Redirects {
    pub(super) fn take(map: Map) -> Result<Self, KernelError> {
        typed(map).map(Self)
    }

    /// Ends the sockets of a target that a rule has connected elsewhere and that still are, and forgets them.
    pub(super) fn end(
        &mut self,
        rule: RuleId,
        root: &CgroupRoot,
        target: &Cgroup,
    ) -> Result<(), KernelError> {
        let connected = self.connected(|id| id == rule)?;
        if !connected.is_empty() {
            connections::end(&connected, connections::of_target(root, target)?)?;
        }
        self.forget(|id| id == rule)
    }

    /// The same of rules that nobody has, wherever the sockets are.
    pub(super) fn sweep(&mut self, is_owned: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        let connected = self.connected(|id| !is_owned(id))?;
        end_everywhere(&connected)?;
        self.forget(|id| !is_owned(id))
    }

    fn connected(&self, is_meant: impl Fn(RuleId) -> bool) -> Result<Connected, KernelError> {
        let mut found = Connected::new();
        for entry in self.0.iter() {
            let (key, origin) = entry.map_err(at("list what went elsewhere"))?;
            if is_meant(RuleId(origin.rule)) && origin.is_connected != 0 {
                found.insert(key.cookie, end_of(&key));
            }
        }
        Ok(found)
    }

    fn forget(&mut self, is_meant: impl Fn(RuleId) -> bool) -> Result<(), KernelError> {
        let entries = self.0.iter().collect::<Result<Vec<_>, _>>();
        let entries = entries.map_err(at("list what went elsewhere"))?;
        for (key, _) in entries.into_iter().filter(|(_, origin)| is_meant(RuleId(origin.rule))) {
            gone(self.0.remove(&key)).map_err(at("forget what went elsewhere"))?;
        }
        Ok(())
    }
}

/// Ends the sockets that rules of any daemon have connected elsewhere, as their pinned tables tell.
pub(super) fn sweep_node(bpffs: &Path) -> Result<(), KernelError> {
    let mut connected = Connected::new();
    for map in Pins::maps_of_all(bpffs, MAP)? {
        // Of another build it may have another layout.
        let Ok(redirects) = Redirects::take(Map::LruHashMap(map)) else { continue };
        connected.extend(redirects.connected(|_| true)?);
    }
    end_everywhere(&connected)
}

fn end_everywhere(connected: &Connected) -> Result<(), KernelError> {
    if connected.is_empty() {
        return Ok(());
    }
    connections::end(connected, target::all_network_namespaces())
}

/// Where what went elsewhere went.
fn end_of(key: &RedirectedKey) -> SocketAddr {
    let [first, second] = key.address.map(u64::to_ne_bytes);
    let address = if key.family == FAMILY_V4 {
        let [a, b, c, d, ..] = first;
        IpAddr::from([a, b, c, d])
    } else {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&first);
        octets[8..].copy_from_slice(&second);
        IpAddr::from(octets)
    };
    SocketAddr::new(address, key.port as u16)
}
