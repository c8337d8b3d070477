//! Filters that match nothing, or cannot be meant as they stand.

use std::collections::HashSet;

use super::{NetworkFilter, Protocol};
use crate::{
    invalid::Invalid,
    value::{Cidr, Volume},
};

/// Two conditions of which one makes the other pointless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// A range is in `remote` and in `except`.
    Excepted(Cidr),
    /// Whatever `remote` has, if anything, `except` takes away.
    AllExcepted,
    /// ICMP has no ports, so it and `remotePorts` match nothing.
    IcmpRemotePorts,
    /// The same with `localPorts`.
    IcmpLocalPorts,
    /// Only TCP has connections that begin.
    ConnectionsWithoutTcp,
    /// `first` counts packets and `after` bytes, or the other way round.
    MixedVolumes,
}

impl From<Contradiction> for Invalid {
    fn from(contradiction: Contradiction) -> Self {
        let ports = |field| {
            Self::new(format!(
                "icmp alone has no ports, and with `{field}` nothing would match; add tcp or udp, or leave `{field}` out"
            ))
            .at("protocols")
        };
        match contradiction {
            Contradiction::Excepted(range) => {
                Self::new(format!("{range} is both in `remote` and in `except`; keep it in one"))
                    .at("except")
            }
            Contradiction::AllExcepted => {
                Self::new("nothing is left that would match; except less").at("except")
            }
            Contradiction::IcmpRemotePorts => ports("remotePorts"),
            Contradiction::IcmpLocalPorts => ports("localPorts"),
            Contradiction::ConnectionsWithoutTcp => Self::new(
                "new and established connections are of TCP alone; add tcp, or leave `connections` out",
            )
            .at("protocols"),
            Contradiction::MixedVolumes => Self::new(
                "`after` counts in another unit; give both in packets, or both in bytes",
            )
            .at("first"),
        }
    }
}

impl NetworkFilter {
    /// Whether no address is left, as far as is known before those that are named are looked up.
    fn excepts_all(&self) -> bool {
        if self.except.is_empty() || self.names_others() {
            return false;
        }
        let is_gone = |range| self.except.fill(range);
        if self.remote.is_empty() {
            Cidr::EVERYTHING.into_iter().all(is_gone)
        } else {
            self.remote.iter().all(is_gone)
        }
    }

    /// Conditions that cannot be meant together.
    #[must_use]
    pub fn contradiction(&self) -> Option<Contradiction> {
        let excepted: HashSet<_> = self.except.iter().collect();
        let is_icmp_alone = !self.protocols.is_empty()
            && self.protocols.iter().all(|protocol| *protocol == Protocol::Icmp);
        if let Some(range) = self.remote.iter().find(|range| excepted.contains(range)) {
            Some(Contradiction::Excepted(range))
        } else if self.excepts_all() {
            Some(Contradiction::AllExcepted)
        } else if is_icmp_alone && !self.remote_ports.is_empty() {
            Some(Contradiction::IcmpRemotePorts)
        } else if is_icmp_alone && !self.local_ports.is_empty() {
            Some(Contradiction::IcmpLocalPorts)
        } else if self.connections.is_some()
            && !self.protocols.is_empty()
            && !self.protocols.contains(&Protocol::Tcp)
        {
            Some(Contradiction::ConnectionsWithoutTcp)
        } else {
            match (self.first, self.after) {
                (Some(Volume::Packets(_)), Some(Volume::Bytes(_)))
                | (Some(Volume::Bytes(_)), Some(Volume::Packets(_))) => {
                    Some(Contradiction::MixedVolumes)
                }
                (Some(_) | None, Some(_) | None) => None,
            }
        }
    }
}
