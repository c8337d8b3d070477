//! Which packets of a target a network fault is about: one object for the whole family.

use std::{collections::HashSet, fmt};

use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Cidr, PortRange, PortRanges, Remotes},
    wire::list,
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
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "icmp" => Ok(Self::Icmp),
            other => {
                Err(Invalid::new(format!("{} is no protocol; give tcp, udp or icmp", shown(other))))
            }
        }
    }
}

/// Conditions on a packet; all of them must hold, and an empty list is no condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetworkFilter {
    /// Which way.
    pub direction: Direction,
    /// The other end is one of these.
    #[serde(skip_serializing_if = "Remotes::is_empty")]
    pub remote: Remotes,
    /// The other end is none of these; of both lists the longest matching prefix decides.
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
}

/// Two conditions of which one makes the other pointless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// A range is in `remote` and in `except`.
    Excepted(Cidr),
    /// ICMP has no ports, so it and `remotePorts` match nothing.
    IcmpRemotePorts,
    /// The same with `localPorts`.
    IcmpLocalPorts,
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
            Contradiction::IcmpRemotePorts => ports("remotePorts"),
            Contradiction::IcmpLocalPorts => ports("localPorts"),
        }
    }
}

impl NetworkFilter {
    /// Refuses a filter that contradicts itself.
    ///
    /// # Errors
    /// When there is a [`Contradiction`].
    pub fn checked(self) -> Result<Self, Invalid> {
        match self.contradiction() {
            Some(contradiction) => Err(contradiction.into()),
            None => Ok(self),
        }
    }

    /// Which remote addresses, as far as their prefixes do not say it.
    #[must_use]
    pub fn remotes_to_abi(&self) -> abi::Remotes {
        match (self.remote.is_empty(), self.except.is_empty()) {
            (false, _) => abi::Remotes::Listed,
            (true, false) => abi::Remotes::AllBut,
            (true, true) => abi::Remotes::All,
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
        } else if is_icmp_alone && !self.remote_ports.is_empty() {
            Some(Contradiction::IcmpRemotePorts)
        } else if is_icmp_alone && !self.local_ports.is_empty() {
            Some(Contradiction::IcmpLocalPorts)
        } else {
            None
        }
    }

    /// Sum of the protocol bits.
    #[must_use]
    pub fn protocols_to_abi(&self) -> u32 {
        self.protocols.iter().fold(0, |bits, protocol| bits | protocol.to_abi())
    }
}

impl fmt::Display for NetworkFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.direction)?;
        if !self.remote.is_empty() {
            write!(f, ", remote {}", self.remote)?;
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
        Ok(())
    }
}

impl TryFrom<v1::NetworkFilter> for NetworkFilter {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkFilter) -> Result<Self, Invalid> {
        Ok(Self {
            direction: direction(wire.direction).at("direction")?,
            remote: list(wire.remote, |text| text.parse())
                .and_then(Remotes::try_from)
                .at("remote")?,
            except: list(wire.except, |text| text.parse())
                .and_then(Remotes::try_from)
                .at("except")?,
            remote_ports: ports(wire.remote_ports).at("remotePorts")?,
            local_ports: ports(wire.local_ports).at("localPorts")?,
            protocols: list(wire.protocols, protocol).at("protocols")?,
        })
    }
}

impl From<&NetworkFilter> for v1::NetworkFilter {
    fn from(filter: &NetworkFilter) -> Self {
        let texts = |remotes: &Remotes| remotes.iter().map(|cidr| cidr.to_string()).collect();
        let ranges = |ports: &PortRanges| {
            let range = |range: PortRange| v1::PortRange {
                first: range.first().into(),
                last: Some(range.last().into()),
            };
            ports.iter().map(range).collect()
        };
        let protocol = |protocol: &Protocol| match protocol {
            Protocol::Tcp => v1::Protocol::Tcp,
            Protocol::Udp => v1::Protocol::Udp,
            Protocol::Icmp => v1::Protocol::Icmp,
        };
        Self {
            direction: match filter.direction {
                Direction::Out => v1::Direction::Out,
                Direction::In => v1::Direction::In,
                Direction::Both => v1::Direction::Both,
            }
            .into(),
            remote: texts(&filter.remote),
            except: texts(&filter.except),
            remote_ports: ranges(&filter.remote_ports),
            local_ports: ranges(&filter.local_ports),
            protocols: filter.protocols.iter().map(|p| protocol(p).into()).collect(),
        }
    }
}

fn direction(number: i32) -> Result<Direction, Invalid> {
    match v1::Direction::try_from(number) {
        Ok(v1::Direction::Unspecified | v1::Direction::Out) => Ok(Direction::Out),
        Ok(v1::Direction::In) => Ok(Direction::In),
        Ok(v1::Direction::Both) => Ok(Direction::Both),
        Err(_) => Err(Invalid::new(format!("{number} is no direction"))),
    }
}

fn protocol(number: i32) -> Result<Protocol, Invalid> {
    match v1::Protocol::try_from(number) {
        Ok(v1::Protocol::Tcp) => Ok(Protocol::Tcp),
        Ok(v1::Protocol::Udp) => Ok(Protocol::Udp),
        Ok(v1::Protocol::Icmp) => Ok(Protocol::Icmp),
        Ok(v1::Protocol::Unspecified) | Err(_) => {
            Err(Invalid::new(format!("{number} is no protocol")))
        }
    }
}

fn ports(wire: Vec<v1::PortRange>) -> Result<PortRanges, Invalid> {
    let port = |number: u32| {
        u16::try_from(number)
            .map_err(|_| Invalid::new(format!("{number} is no port; the highest is 65535")))
    };
    list(wire, |range| {
        PortRange::new(port(range.first)?, port(range.last.unwrap_or(range.first))?)
    })?
    .try_into()
}
