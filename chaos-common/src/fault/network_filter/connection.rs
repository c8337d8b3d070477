//! Which open TCP connections a filter is about: the same that its rule would be about by their packets.

use std::net::{IpAddr, SocketAddr};

use super::{Connections, NetworkFilter, Protocol};
use crate::{
    abi::{self, Dice, Lane},
    invalid::Invalid,
    value::{Cidr, Percent, PortRanges, Remotes},
};

/// <https://www.iana.org/assignments/protocol-numbers>
const TCP: u32 = 6;

impl NetworkFilter {
    /// Refuses what is not known of a connection, but only of its packets.
    ///
    /// # Errors
    /// When it asks for that, or for none that is open.
    pub(in super::super) fn fits_open_connections(&self) -> Result<(), Invalid> {
        if !self.protocols.is_empty() && !self.protocols.contains(&Protocol::Tcp) {
            let problem = "only TCP has connections to reset; add tcp, or leave `resetOpen` out";
            return Err(Invalid::new(problem).at("protocols"));
        }
        if self.connections == Some(Connections::New) {
            let problem = "a connection that is open is not new; leave this or `resetOpen` out";
            return Err(Invalid::new(problem).at("connections"));
        }
        let asked = [
            (self.interface.is_none(), "interface"),
            (self.dscp.is_empty(), "dscp"),
            (self.first.is_none(), "first"),
            (self.after.is_none(), "after"),
        ];
        match asked.into_iter().find(|(is_absent, _)| !is_absent) {
            Some((_, field)) => {
                let problem = "is known of a packet, and an open connection is reset without one; leave this or `resetOpen` out";
                Err(Invalid::new(problem).at(field))
            }
            None => Ok(()),
        }
    }

    /// Whether it is about a TCP connection from the target's end to another, under the seed of its rule.
    #[must_use]
    pub fn has_connection(&self, seed: u64, local: SocketAddr, remote: SocketAddr) -> bool {
        let (from, to) = (local.ip().to_canonical(), remote.ip().to_canonical());
        has_port(&self.local_ports, local.port())
            && has_port(&self.remote_ports, remote.port())
            && self.has_remote(to)
            && self.connection_percent.is_none_or(|percent| {
                is_chosen(percent, seed, (from, local.port()), (to, remote.port()))
            })
    }

    /// The longest prefix decides, and of two that are the same, the exception.
    fn has_remote(&self, address: IpAddr) -> bool {
        let longest = |ranges: &Remotes| {
            let around = ranges.iter().filter(|range| range.contains(address));
            around.map(Cidr::prefix_len).max()
        };
        match (longest(&self.remote), longest(&self.except)) {
            (None, None) => !self.is_listed(),
            (included, excepted) => included > excepted,
        }
    }
}

fn has_port(ports: &PortRanges, port: u16) -> bool {
    ports.is_empty() || ports.iter().any(|range| (range.first()..=range.last()).contains(&port))
}

fn is_chosen(percent: Percent, seed: u64, local: (IpAddr, u16), remote: (IpAddr, u16)) -> bool {
    let (family, from) = bytes(local.0);
    let (_, to) = bytes(remote.0);
    let flow = abi::flow_hash(family, TCP, (&from, local.1), (&to, remote.1));
    percent.chance().includes(Dice::still(seed).draw(flow, Lane::Connection) as u32)
}

fn bytes(address: IpAddr) -> (u32, [u8; 16]) {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            (abi::FAMILY_V4, bytes)
        }
        IpAddr::V6(v6) => (abi::FAMILY_V6, v6.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(yaml: &str) -> NetworkFilter {
        let text = format!(
            "{{target: {{pid: 1}}, fault: {{networkReject: {{resetOpen: true, filter: {yaml}}}}}}}"
        );
        let spec = crate::spec::from_yaml::<crate::spec::Spec>(&text).unwrap().remove(0);
        spec.fault.filter().unwrap().clone()
    }

    fn has(filter: &NetworkFilter, local: &str, remote: &str) -> bool {
        filter.has_connection(1, local.parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn the_other_end_and_both_ports_decide() {
        let here = "10.0.0.1:5000";
        for (yaml, remote, matches) in [
            ("{}", "10.0.0.2:80", true),
            ("{remotePorts: [80]}", "10.0.0.2:80", true),
            ("{remotePorts: [81, '90-91']}", "10.0.0.2:80", false),
            ("{localPorts: ['4999-5001']}", "10.0.0.2:80", true),
            ("{localPorts: [80]}", "10.0.0.2:80", false),
            ("{remote: [10.0.0.0/8]}", "10.0.0.2:80", true),
            ("{remote: [10.0.0.0/8]}", "[::ffff:10.0.0.2]:80", true),
            ("{remote: [10.0.0.0/8]}", "[fd00::2]:80", false),
            ("{remote: [10.0.0.0/8, 10.0.0.2], except: [10.0.0.0/16]}", "10.0.0.2:80", true),
            ("{remote: [10.0.0.0/8, 10.0.0.2], except: [10.0.0.0/16]}", "10.0.0.3:80", false),
            ("{except: [10.0.0.0/16]}", "10.0.0.2:80", false),
            ("{except: [10.0.0.0/16]}", "10.1.0.2:80", true),
            ("{hosts: [db.test]}", "10.0.0.2:80", false),
            ("{direction: in, connections: established, protocols: [tcp]}", "10.0.0.2:80", true),
        ] {
            assert_eq!(has(&filter(yaml), here, remote), matches, "{yaml} {remote}");
        }
    }

    #[test]
    fn a_share_of_connections_is_chosen_once_for_all() {
        let half = filter("{connectionPercent: 50}");
        let chosen = |remote: &str| {
            (0..1000)
                .filter(|port| has(&half, &format!("10.0.0.1:{}", 1024 + port), remote))
                .count()
        };
        for remote in ["10.0.0.2:80", "[fd00::2]:80"] {
            assert!((420..=580).contains(&chosen(remote)), "{remote}: {}", chosen(remote));
        }
        // What goes over the wire is the same.
        assert_eq!(chosen("10.0.0.2:80"), chosen("[::ffff:10.0.0.2]:80"));
    }
}
