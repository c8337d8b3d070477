//! Which packets of a target a network fault is about: one object for the whole family.

mod connection;
mod contradiction;
mod others;
mod wire;

pub use contradiction::Contradiction;
pub use others::{Neighbour, Others};
pub(super) use wire::protocol;

use std::fmt;

use crate::{
    abi,
    invalid::{At, Invalid, shown},
    target::Target,
    value::{Dscps, HostName, InterfaceName, Percent, PortRanges, Remotes, Volume},
};

/// Which way, seen from the target.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// What the target sends.
    #[default]
    Out,
    /// What the target would receive.
    In,
    /// Both.
    Both,
}

impl Direction {
    /// Whether what the target sends is meant.
    #[must_use]
    pub const fn includes_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }

    /// Whether what the target would receive is meant.
    #[must_use]
    pub const fn includes_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    /// The same as the kernel reads it.
    #[must_use]
    pub const fn to_abi(self) -> u32 {
        match self {
            Self::Out => abi::Direction::Out as u32,
            Self::In => abi::Direction::In as u32,
            Self::Both => abi::Direction::Out as u32 | abi::Direction::In as u32,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        })
    }
}

impl std::str::FromStr for Direction {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "out" => Ok(Self::Out),
            "in" => Ok(Self::In),
            "both" => Ok(Self::Both),
            other => {
                Err(Invalid::new(format!("{} is no direction; give out, in or both", shown(other))))
            }
        }
    }
}

/// A transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6.
    Icmp,
}

impl Protocol {
    /// The same as the kernel reads it.
    #[must_use]
    pub const fn to_abi(self) -> u32 {
        match self {
            Self::Tcp => abi::Protocol::Tcp as u32,
            Self::Udp => abi::Protocol::Udp as u32,
            Self::Icmp => abi::Protocol::Icmp as u32,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

impl std::str::FromStr for Protocol {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Icmp),
            _ => {
                Err(Invalid::new(format!("{} is no protocol; give tcp, udp or icmp", shown(text))))
            }
        }
    }
}

/// Which TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Connections {
    /// Those that begin while the fault is there.
    New,
    /// Those that were there before it.
    Established,
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Established => "established",
        })
    }
}

impl std::str::FromStr for Connections {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "new" => Ok(Self::New),
            "established" => Ok(Self::Established),
            other => Err(Invalid::new(format!(
                "{} connections are not known; give new or established",
                shown(other)
            ))),
        }
    }
}

/// Conditions on a packet; all of them must hold, and an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkFilter {
    /// Which way, if it is said; most faults take that for out. See [`NetworkFilter::direction`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The other end is one of these.
    #[serde(skip_serializing_if = "Remotes::is_empty")]
    pub remote: Remotes,
    /// The other end is one of these hosts, looked up as the target would, now and then again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
    /// The other end is one of these cgroups of the same node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Target>,
    /// The other end is none of these; of all lists the longest matching prefix decides.
    #[serde(skip_serializing_if = "Remotes::is_empty")]
    pub except: Remotes,
    /// Port of the other end. A packet without ports does not match.
    #[serde(skip_serializing_if = "PortRanges::is_empty")]
    pub remote_ports: PortRanges,
    /// Port of the target's end. A packet without ports does not match.
    #[serde(skip_serializing_if = "PortRanges::is_empty")]
    pub local_ports: PortRanges,
    /// Transport.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<Protocol>,
    /// The interface that it leaves or comes in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceName>,
    /// Its class of service.
    #[serde(skip_serializing_if = "Dscps::is_empty")]
    pub dscp: Dscps,
    /// It is of a TCP connection that began before or after the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// The share of connections that are meant at all, each chosen once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection_percent: Option<Percent>,
    /// Only the first packets or bytes of a connection; with `after`, the first behind that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Volume>,
    /// Only what comes after so many packets or bytes of a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Volume>,
    /// Peers that were found in a network namespace of the target; see [`NetworkFilter::aimed_at`].
    #[serde(skip)]
    pub neighbours: Vec<Neighbour>,
}

/// Hosts and peers that a filter names at most: each is looked up now and then.
const MAX_NAMED: usize = 64;

impl NetworkFilter {
    /// Which way.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction.unwrap_or_default()
    }

    /// Refuses a filter that contradicts itself. Where it says no direction, it says out from then on, so that
    /// whoever reads it need not know.
    ///
    /// # Errors
    /// When there is a [`Contradiction`], or nothing would match.
    pub fn checked(mut self) -> Result<Self, Invalid> {
        self.direction.get_or_insert_default();
        for (named, field) in [(self.hosts.len(), "hosts"), (self.peers.len(), "peers")] {
            if named > MAX_NAMED {
                let problem = format!("{named} are too many; give at most {MAX_NAMED}");
                return Err(Invalid::new(problem).at(field));
            }
        }
        if let Some(percent) = self.connection_percent {
            percent.above_zero().at("connectionPercent")?;
        }
        for (volume, field) in [(self.first, "first"), (self.after, "after")] {
            volume.map_or(Ok(()), |volume| volume.checked().map(drop)).at(field)?;
        }
        match self.contradiction() {
            Some(contradiction) => Err(contradiction.into()),
            None => Ok(self),
        }
    }

    /// Whether it names others who have to be found.
    #[must_use]
    pub fn names_others(&self) -> bool {
        !self.hosts.is_empty() || !self.peers.is_empty()
    }

    /// Whether only those are meant whom it lists or names.
    fn is_listed(&self) -> bool {
        !self.remote.is_empty() || self.names_others()
    }

    /// The same as the kernel reads it, without the addresses: those lie in a table of their own.
    #[must_use]
    pub fn to_abi(&self) -> abi::NetFilter {
        let mut window = abi::Window::WHOLE;
        self.after.inspect(|volume| volume.skip(&mut window));
        self.first.inspect(|volume| volume.end(&mut window));
        let connections = match self.connections {
            None => abi::Connections::All,
            Some(Connections::New) => abi::Connections::New,
            Some(Connections::Established) => abi::Connections::Established,
        };
        abi::NetFilter {
            directions: self.direction().to_abi(),
            protocols: match self.connections {
                // Nothing else has connections that begin.
                Some(_) => abi::Protocol::Tcp as u32,
                None => self.protocols.iter().fold(0, |bits, protocol| bits | protocol.to_abi()),
            },
            remotes: Remotes::to_abi(self.is_listed(), &self.except) as u32,
            connections: connections as u32,
            dscp: self.dscp.to_abi(),
            flows: self.connection_percent.map_or(abi::Chance::ALWAYS, Percent::chance),
            window,
            interface: self.interface.as_ref().map(InterfaceName::to_abi).unwrap_or_default(),
            remote_ports: self.remote_ports.to_abi(),
            local_ports: self.local_ports.to_abi(),
            peers: self.peers_to_abi(),
            question: abi::QuestionFilter::default(),
        }
    }
}

impl fmt::Display for NetworkFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.direction())?;
        if !self.remote.is_empty() {
            write!(f, ", remote {}", self.remote)?;
        }
        for host in &self.hosts {
            write!(f, ", host {host}")?;
        }
        for peer in &self.peers {
            write!(f, ", peer {peer}")?;
        }
        for neighbour in &self.neighbours {
            write!(f, ", cgroup {neighbour} by its sockets")?;
        }
        if !self.except.is_empty() {
            write!(f, ", except {}", self.except)?;
        }
        if !self.remote_ports.is_empty() {
            write!(f, ", remote ports {}", self.remote_ports)?;
        }
        if !self.local_ports.is_empty() {
            write!(f, ", local ports {}", self.local_ports)?;
        }
        for protocol in &self.protocols {
            write!(f, ", {protocol}")?;
        }
        if let Some(interface) = &self.interface {
            write!(f, ", interface {interface}")?;
        }
        if !self.dscp.is_empty() {
            write!(f, ", dscp {}", self.dscp)?;
        }
        if let Some(connections) = self.connections {
            write!(f, ", {connections} connections")?;
        }
        if let Some(percent) = self.connection_percent {
            write!(f, ", {percent} of connections")?;
        }
        if let Some(volume) = self.after {
            write!(f, ", after {volume}")?;
        }
        if let Some(volume) = self.first {
            write!(f, ", first {volume}")?;
        }
        Ok(())
    }
}
