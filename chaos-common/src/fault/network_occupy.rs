//! `network occupy`: ports are taken, so that the target cannot bind to them; or it just cannot.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::{Protocol, network_filter};
use crate::{
    abi,
    invalid::{At, Invalid, shown},
    proto::v1,
    value::{Percent, PortList, PortRange, Text},
    wire::{list, percent},
};

/// Ports cannot be bound to.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct NetworkOccupy {
    /// Which ports.
    pub ports: PortList,
    /// Whose ports: each protocol has its own.
    pub protocols: Transports,
    /// At which address; without it at all.
    pub address: Option<BindAddress>,
    /// How, and for whom.
    pub how: Occupation,
}

/// Why a port cannot be bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Occupation {
    /// It is taken where the target's processes have their network, for everybody there.
    #[default]
    Hold,
    /// The target's own calls fail, each with this chance, which is more than 0.
    Refuse(Percent),
}

impl Occupation {
    /// Calls fail: all of them, if nothing is said.
    ///
    /// # Errors
    /// When none would.
    pub fn refuse(percent: Option<Percent>) -> Result<Self, Invalid> {
        percent.unwrap_or(Percent::ALL).above_zero().map(Self::Refuse)
    }

    fn read(refuse: bool, percent: Option<Percent>) -> Result<Self, Invalid> {
        match (refuse, percent) {
            (true, percent) => Self::refuse(percent),
            (false, None) => Ok(Self::Hold),
            (false, Some(_)) => Err(Invalid::new(
                "ports are held all the time; give `refuse` too, by which calls fail, or leave it out",
            )),
        }
    }

    /// [`Occupation::read`] backwards.
    fn written(self) -> (bool, Option<Percent>) {
        match self {
            Self::Hold => (false, None),
            Self::Refuse(percent) => (true, (percent != Percent::ALL).then_some(percent)),
        }
    }
}

/// Protocols that have ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Vec<Protocol>", into = "Vec<Protocol>")]
pub enum Transports {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// TCP and UDP.
    Both,
}

impl Transports {
    /// The same as the kernel reads it: a sum of bits.
    #[must_use]
    pub const fn to_abi(self) -> u32 {
        let (tcp, udp) = (abi::Protocol::Tcp as u32, abi::Protocol::Udp as u32);
        match self {
            Self::Tcp => tcp,
            Self::Udp => udp,
            Self::Both => tcp | udp,
        }
    }

    /// One by one.
    #[must_use]
    pub const fn list(self) -> &'static [Protocol] {
        match self {
            Self::Tcp => &[Protocol::Tcp],
            Self::Udp => &[Protocol::Udp],
            Self::Both => &[Protocol::Tcp, Protocol::Udp],
        }
    }
}

impl fmt::Display for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Both => "tcp+udp",
        })
    }
}

impl TryFrom<Vec<Protocol>> for Transports {
    type Error = Invalid;

    fn try_from(protocols: Vec<Protocol>) -> Result<Self, Invalid> {
        let has = |protocol| protocols.contains(&protocol);
        match (has(Protocol::Icmp), has(Protocol::Tcp), has(Protocol::Udp)) {
            (true, ..) => Err(Invalid::new("icmp has no ports; give tcp, udp or both")),
            (false, true, true) => Ok(Self::Both),
            (false, false, true) => Ok(Self::Udp),
            (false, _, false) => Ok(Self::Tcp),
        }
    }
}

impl From<Transports> for Vec<Protocol> {
    fn from(transports: Transports) -> Self {
        transports.list().to_vec()
    }
}

/// An address to bind to: one, or all of a family (`0.0.0.0`, `::`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindAddress(IpAddr);

impl BindAddress {
    /// All of both families.
    pub const ANY: [Self; 2] =
        [Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), Self(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];

    /// The address.
    #[must_use]
    pub fn get(self) -> IpAddr {
        self.0
    }

    /// The same as the kernel reads it.
    #[must_use]
    pub fn to_abi(self) -> abi::Occupy {
        let (family, bytes) = match self.0 {
            IpAddr::V4(v4) => {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&v4.octets());
                (abi::FAMILY_V4, bytes)
            }
            IpAddr::V6(v6) => (abi::FAMILY_V6, v6.octets()),
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        let words = [[a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p]];
        abi::Occupy { family: family.into(), address: words.map(u64::from_ne_bytes) }
    }
}

impl TryFrom<IpAddr> for BindAddress {
    type Error = Invalid;

    fn try_from(address: IpAddr) -> Result<Self, Invalid> {
        match address {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                Err(Invalid::new(format!("{v6} is an address of IPv4; write it as one")))
            }
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Invalid::new(format!(
                "{v6} is one of each interface; give another address, or :: for all"
            ))),
            IpAddr::V4(_) | IpAddr::V6(_) => Ok(Self(address)),
        }
    }
}

impl FromStr for BindAddress {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let address: IpAddr = text.parse().map_err(|_| {
            Invalid::new(format!(
                "{} is no address; give one as 10.0.0.5 or ::1, or 0.0.0.0 or :: for all of a family",
                shown(text)
            ))
        })?;
        address.try_into()
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for BindAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for BindAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text::of("an address as 10.0.0.5 or \"::1\""))
    }
}

impl NetworkOccupy {
    /// The address, or those that stand for all.
    #[must_use]
    pub fn addresses(&self) -> Vec<BindAddress> {
        self.address.map_or_else(|| BindAddress::ANY.to_vec(), |address| vec![address])
    }
}

impl fmt::Display for NetworkOccupy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            Occupation::Hold => {}
            Occupation::Refuse(Percent::ALL) => f.write_str("refuse ")?,
            Occupation::Refuse(percent) => write!(f, "{percent} refuse ")?,
        }
        write!(f, "{} {}", self.protocols, self.ports)?;
        match self.address {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    ports: PortList,
    #[serde(default)]
    protocols: Transports,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<BindAddress>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refuse: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
}

impl TryFrom<Raw> for NetworkOccupy {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let Raw { ports, protocols, address, refuse, percent } = raw;
        let how = Occupation::read(refuse, percent).at("percent")?;
        Ok(Self { ports, protocols, address, how })
    }
}

impl From<NetworkOccupy> for Raw {
    fn from(NetworkOccupy { ports, protocols, address, how }: NetworkOccupy) -> Self {
        let (refuse, percent) = how.written();
        Self { ports, protocols, address, refuse, percent }
    }
}

impl TryFrom<v1::NetworkOccupy> for NetworkOccupy {
    type Error = Invalid;

    fn try_from(wire: v1::NetworkOccupy) -> Result<Self, Invalid> {
        Ok(Self {
            ports: list(wire.ports, PortRange::try_from)
                .and_then(PortList::try_from)
                .at("ports")?,
            protocols: list(wire.protocols, network_filter::protocol)
                .and_then(Transports::try_from)
                .at("protocols")?,
            address: wire.address.map(|text| text.parse()).transpose().at("address")?,
            how: percent(wire.percent)
                .and_then(|percent| Occupation::read(wire.refuse, percent))
                .at("percent")?,
        })
    }
}

impl From<&NetworkOccupy> for v1::NetworkOccupy {
    fn from(occupy: &NetworkOccupy) -> Self {
        let protocols = occupy.protocols.list().iter();
        let (refuse, percent) = occupy.how.written();
        Self {
            ports: occupy.ports.iter().map(Into::into).collect(),
            protocols: protocols.map(|protocol| v1::Protocol::from(protocol).into()).collect(),
            address: occupy.address.map(|address| address.to_string()),
            refuse,
            percent: percent.map(Percent::get),
        }
    }
}
