//! The filter on the wire.

use super::{Connections, Direction, NetworkFilter, Protocol};
use crate::{
    invalid::{At, Invalid},
    proto::v1,
    value::{Dscp, Dscps, InterfaceName, PortRange, PortRanges, Remotes},
    wire::list,
};

impl TryFrom<v1::NetworkFilter> for NetworkFilter {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkFilter) -> Result<Self, Invalid> {
        Ok(Self {
            direction: direction(wire.direction).at("direction")?,
            remote: list(wire.remote, |text| text.parse())
                .and_then(Remotes::try_from)
                .at("remote")?,
            hosts: list(wire.hosts, TryInto::try_into).at("hosts")?,
            peers: list(wire.peers, TryInto::try_into).at("peers")?,
            except: list(wire.except, |text| text.parse())
                .and_then(Remotes::try_from)
                .at("except")?,
            remote_ports: ports(wire.remote_ports).at("remotePorts")?,
            local_ports: ports(wire.local_ports).at("localPorts")?,
            protocols: list(wire.protocols, protocol).at("protocols")?,
            interface: interface(wire.interface).at("interface")?,
            dscp: list(wire.dscp, |number| Dscp::try_from(u64::from(number)))
                .and_then(Dscps::try_from)
                .at("dscp")?,
            connections: connections(wire.connections).at("connections")?,
            connection_percent: wire
                .connection_percent
                .map(TryInto::try_into)
                .transpose()
                .at("connectionPercent")?,
            first: wire.first.map(TryInto::try_into).transpose().at("first")?,
            after: wire.after.map(TryInto::try_into).transpose().at("after")?,
            neighbours: Vec::new(),
        })
    }
}

impl From<&NetworkFilter> for v1::NetworkFilter {
    fn from(filter: &NetworkFilter) -> Self {
        let texts = |remotes: &Remotes| remotes.iter().map(|cidr| cidr.to_string()).collect();
        let ranges = |ports: &PortRanges| ports.iter().map(Into::into).collect();
        Self {
            direction: match filter.direction {
                None => v1::Direction::Unspecified,
                Some(Direction::Out) => v1::Direction::Out,
                Some(Direction::In) => v1::Direction::In,
                Some(Direction::Both) => v1::Direction::Both,
            }
            .into(),
            remote: texts(&filter.remote),
            hosts: filter.hosts.iter().map(ToString::to_string).collect(),
            peers: filter.peers.iter().map(Into::into).collect(),
            except: texts(&filter.except),
            remote_ports: ranges(&filter.remote_ports),
            local_ports: ranges(&filter.local_ports),
            protocols: filter.protocols.iter().map(|p| v1::Protocol::from(p).into()).collect(),
            interface: filter.interface.as_ref().map(ToString::to_string).unwrap_or_default(),
            dscp: filter.dscp.iter().map(|dscp| dscp.get().into()).collect(),
            connections: match filter.connections {
                None => v1::Connections::Unspecified,
                Some(Connections::New) => v1::Connections::New,
                Some(Connections::Established) => v1::Connections::Established,
            }
            .into(),
            connection_percent: filter.connection_percent.map(|percent| percent.get()),
            first: filter.first.map(Into::into),
            after: filter.after.map(Into::into),
        }
    }
}

fn direction(number: i32) -> Result<Option<Direction>, Invalid> {
    match v1::Direction::try_from(number) {
        Ok(v1::Direction::Unspecified) => Ok(None),
        Ok(v1::Direction::Out) => Ok(Some(Direction::Out)),
        Ok(v1::Direction::In) => Ok(Some(Direction::In)),
        Ok(v1::Direction::Both) => Ok(Some(Direction::Both)),
        Err(_) => Err(Invalid::new(format!("{number} is no direction"))),
    }
}

fn interface(name: String) -> Result<Option<InterfaceName>, Invalid> {
    if name.is_empty() { Ok(None) } else { name.try_into().map(Some) }
}

fn connections(number: i32) -> Result<Option<Connections>, Invalid> {
    match v1::Connections::try_from(number) {
        Ok(v1::Connections::Unspecified) => Ok(None),
        Ok(v1::Connections::New) => Ok(Some(Connections::New)),
        Ok(v1::Connections::Established) => Ok(Some(Connections::Established)),
        Err(_) => Err(Invalid::new(format!("{number} are no connections"))),
    }
}

impl From<&Protocol> for v1::Protocol {
    fn from(protocol: &Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp,
            Protocol::Udp => Self::Udp,
            Protocol::Icmp => Self::Icmp,
        }
    }
}

pub(in crate::fault) fn protocol(number: i32) -> Result<Protocol, Invalid> {
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
    list(wire, PortRange::try_from)?.try_into()
}
