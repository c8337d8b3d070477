//! `dns server`: another name server is asked.

use std::{fmt, net::SocketAddr};

use super::dns::{at, name_servers, texts};
use crate::{
    abi::Redirect,
    fault::{Direction, NetworkFilter, Protocol},
    invalid::{At, Invalid},
    proto::v1,
    value::{NameServer, Percent, PortRanges, Remotes},
    wire::{list, percent},
};

/// Whatever the target sends to name servers goes to others, or to none.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct DnsServer {
    /// Where it goes.
    pub to: Upstream,
    /// What was to go to these name servers; none is all.
    pub servers: Remotes,
    /// At these ports; none is 53.
    pub ports: PortRanges,
    /// Which share of it; more than 0.
    pub percent: Percent,
}

/// Where questions go.
#[derive(Clone, Debug, PartialEq)]
pub enum Upstream {
    /// Nowhere: as if nobody listened.
    None,
    /// To these: at least one, and at most one of each family.
    At(Vec<NameServer>),
}

impl DnsServer {
    /// From parts.
    ///
    /// # Errors
    /// When it is not said where to, or twice.
    pub fn new(
        to: Vec<NameServer>,
        none: bool,
        servers: Remotes,
        ports: PortRanges,
        percent: Option<Percent>,
    ) -> Result<Self, Invalid> {
        let percent = percent.unwrap_or(Percent::ALL).above_zero().at("percent")?;
        let to = match (to.is_empty(), none) {
            (true, true) => Upstream::None,
            (false, false) => Upstream::At(to),
            (true, false) => {
                let problem = "give the name server that is asked instead, or none";
                return Err(Invalid::new(problem).at("upstream"));
            }
            (false, true) => {
                let problem = "there is another name server, or none; leave one of them out";
                return Err(Invalid::new(problem).at("none"));
            }
        };
        if let Upstream::At(to) = &to {
            let v4 = to.iter().filter(|server| server.get().is_ipv4()).count();
            if v4 > 1 || to.len() - v4 > 1 {
                let problem = "has two of a family; give one of IPv4, one of IPv6, or both";
                return Err(Invalid::new(problem).at("upstream"));
            }
        }
        Ok(Self { to, servers, ports, percent })
    }

    /// What is to go elsewhere: packets of the target, or calls that would send them.
    #[must_use]
    pub fn filter(&self) -> NetworkFilter {
        NetworkFilter {
            direction: Some(Direction::Out),
            protocols: vec![Protocol::Udp, Protocol::Tcp],
            ..at(&self.servers, &self.ports)
        }
    }

    /// Where it goes, as the kernel reads it; nothing where it goes nowhere.
    #[must_use]
    pub fn redirect(&self) -> Option<Redirect> {
        let Upstream::At(to) = &self.to else { return None };
        let mut redirect = Redirect::default();
        for server in to {
            match server.get() {
                SocketAddr::V4(at) => {
                    redirect.v4 = at.ip().octets();
                    redirect.v4_port = at.port();
                }
                SocketAddr::V6(at) => {
                    redirect.v6 = at.ip().octets();
                    redirect.v6_port = at.port();
                }
            }
        }
        Some(redirect)
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, servers, ports, percent } = self;
        if *percent != Percent::ALL {
            write!(f, "{percent} ")?;
        }
        match to {
            Upstream::None => f.write_str("none")?,
            Upstream::At(to) => f.write_str(&texts(to).join(" and "))?,
        }
        if !servers.is_empty() {
            write!(f, " instead of {servers}")?;
        }
        if !ports.is_empty() {
            write!(f, ", ports {ports}")?;
        }
        Ok(())
    }
}

/// As it is written.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upstream: Vec<NameServer>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    none: bool,
    #[serde(default, skip_serializing_if = "Remotes::is_empty")]
    servers: Remotes,
    #[serde(default, skip_serializing_if = "PortRanges::is_empty")]
    ports: PortRanges,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
}

impl TryFrom<Raw> for DnsServer {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        Self::new(raw.upstream, raw.none, raw.servers, raw.ports, raw.percent)
    }
}

impl From<DnsServer> for Raw {
    fn from(server: DnsServer) -> Self {
        let DnsServer { to, servers, ports, percent } = server;
        let (to, none) = match to {
            Upstream::None => (Vec::new(), true),
            Upstream::At(to) => (to, false),
        };
        Self {
            upstream: to,
            none,
            servers,
            ports,
            percent: (percent != Percent::ALL).then_some(percent),
        }
    }
}

impl TryFrom<v1::DnsServer> for DnsServer {
    type Error = Invalid;

    fn try_from(wire: v1::DnsServer) -> Result<Self, Invalid> {
        let to = list(wire.upstream, |text| text.parse()).at("upstream")?;
        let (servers, ports) = name_servers(wire.servers, wire.ports)?;
        Self::new(to, wire.none, servers, ports, percent(wire.percent).at("percent")?)
    }
}

impl From<&DnsServer> for v1::DnsServer {
    fn from(server: &DnsServer) -> Self {
        let (to, none) = match &server.to {
            Upstream::None => (Vec::new(), true),
            Upstream::At(to) => (texts(to), false),
        };
        Self {
            upstream: to,
            none,
            servers: texts(server.servers.iter()),
            ports: server.ports.iter().map(Into::into).collect(),
            percent: (server.percent != Percent::ALL).then(|| server.percent.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Spec, from_yaml};

    fn parsed(fields: &str) -> Result<String, String> {
        let text = format!("{{target: {{pid: 1}}, fault: {{dnsServer: {{{fields}}}}}}}");
        let specs: Vec<Spec> = from_yaml(&text).map_err(|error| error.to_string())?;
        Ok(specs[0].fault.to_string())
    }

    #[test]
    fn it_is_said_shortly() {
        for (fields, said) in [
            ("upstream: [10.0.0.2]", "10.0.0.2"),
            (
                "none: true, servers: [10.0.0.3], ports: [5353]",
                "none instead of 10.0.0.3, ports 5353",
            ),
            ("upstream: ['10.0.0.2:5353', 'fd00::2'], percent: 5", "5 % 10.0.0.2:5353 and fd00::2"),
        ] {
            assert_eq!(parsed(fields).unwrap(), format!("dns server {said}"));
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (fields, word) in [
            ("servers: [10.0.0.1]", "or none"),
            ("upstream: [10.0.0.1], none: true", "leave one of them out"),
            ("upstream: [10.0.0.1, '::ffff:10.0.0.2']", "two of a family"),
            ("upstream: [a]", "no address of a name server"),
            ("none: true, percent: 0", "0 %"),
        ] {
            let error = parsed(fields).unwrap_err();
            assert!(error.contains(word), "{fields}: {error}");
        }
    }
}
