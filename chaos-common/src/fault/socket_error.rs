//! `socket error`: what is done to sockets fails.

use std::fmt;

use super::{
    call::{Caller, Occasion, OperationName, Operations},
    network_filter::{Protocol, protocol},
};
use crate::{
    abi::Operation,
    invalid::{At, Invalid},
    proto::v1,
    value::{Cidr, Errno, Every, Percent, PortRanges, Remotes, SocketFamilies},
    wire::list,
};

/// What the target does to sockets fails.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct SocketError {
    /// What is done.
    pub operations: Operations,
    /// With what it fails.
    pub errno: Errno,
    /// To which sockets.
    pub sockets: Sockets,
    /// Who does it.
    pub caller: Caller,
    /// Which of all these.
    pub occasion: Occasion,
    /// What the node can do of it, if not all.
    pub partial: bool,
    /// TCP connections that are open when it begins are reset.
    pub reset_open: bool,
}

/// Which sockets; all, if nothing is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sockets {
    /// With these at the other end; of what binds or listens, at its own.
    pub remote: Remotes,
    /// But not these.
    pub except: Remotes,
    /// With these ports there.
    pub ports: PortRanges,
    /// Of these families.
    pub families: SocketFamilies,
    /// Of these protocols.
    pub protocols: Vec<Protocol>,
}

/// What can be done to sockets.
pub const SOCKET_OPERATIONS: [Operation; 7] = [
    Operation::Socket,
    Operation::Bind,
    Operation::Connect,
    Operation::Listen,
    Operation::Accept,
    Operation::Send,
    Operation::Receive,
];

impl Sockets {
    /// Whether it is all of them.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Addresses of the families, where these are named: those that are listed, or all. Empty is any.
    #[must_use]
    pub fn remotes(&self) -> Vec<Cidr> {
        let listed: Vec<Cidr> = self.remote.iter().collect();
        let all = if listed.is_empty() && !self.families.is_any() {
            Cidr::EVERYTHING.to_vec()
        } else {
            listed
        };
        all.into_iter().filter(|cidr| self.has_family_of(*cidr)).collect()
    }

    fn has_family_of(&self, cidr: Cidr) -> bool {
        self.families.is_any() || self.families.bits() & cidr.family() as u32 != 0
    }

    /// Whether sockets of IPv4 or IPv6 are among them.
    fn has_ip(&self) -> bool {
        Cidr::EVERYTHING.into_iter().any(|cidr| self.has_family_of(cidr))
    }

    /// Fails where no socket can be what is asked for.
    fn check(&self) -> Result<(), Invalid> {
        if !self.has_ip() && (self.asks_end() || !self.protocols.is_empty()) {
            let problem = "sockets of these have no addresses, ports and protocols; add ipv4 or ipv6, or leave those out";
            return Err(Invalid::new(problem).at("families"));
        }
        if !self.remote.is_empty() && self.remotes().is_empty() {
            let problem = "none of these is of the families that are asked for";
            return Err(Invalid::new(problem).at("remote"));
        }
        let has_ports = |protocol: &Protocol| *protocol != Protocol::Icmp;
        if !self.ports.is_empty()
            && !self.protocols.is_empty()
            && !self.protocols.iter().any(has_ports)
        {
            let problem = "ICMP has no ports; add tcp or udp to `protocols`, or leave `ports` out";
            return Err(Invalid::new(problem).at("ports"));
        }
        Ok(())
    }

    /// Whether it asks for an address or a port.
    #[must_use]
    pub fn asks_end(&self) -> bool {
        !self.remote.is_empty() || !self.except.is_empty() || !self.ports.is_empty()
    }
}

impl SocketError {
    /// Checks that all fits together.
    ///
    /// # Errors
    /// When an operation is none of sockets, or knows no other end that is asked for.
    pub fn checked(self) -> Result<Self, Invalid> {
        if self.operations.has(Operation::Socket) && self.sockets.asks_end() {
            let problem = "a socket that is made has no other end yet; leave `socket` out, or addresses and ports";
            return Err(Invalid::new(problem).at("operations"));
        }
        let is_tcp = |protocol: &Protocol| *protocol == Protocol::Tcp;
        let protocols = &self.sockets.protocols;
        if self.reset_open && !protocols.is_empty() && !protocols.iter().any(is_tcp) {
            let problem =
                "only connections of TCP are reset; add tcp to `protocols`, or leave it out";
            return Err(Invalid::new(problem).at("resetOpen"));
        }
        self.sockets.check()?;
        if self.reset_open && !self.sockets.has_ip() {
            let problem = "only connections over IPv4 and IPv6 are reset; add one of these to `families`, or leave it out";
            return Err(Invalid::new(problem).at("resetOpen"));
        }
        Ok(self)
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, errno, sockets, caller, occasion, reset_open, .. } = self;
        write!(f, "{errno} {operations}")?;
        if *reset_open {
            f.write_str(" and reset what is open")?;
        }
        write!(f, "{sockets}{caller}{occasion}")
    }
}

impl fmt::Display for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote, except, ports, families, protocols } = self;
        families.fmt(f)?;
        for (n, protocol) in protocols.iter().enumerate() {
            write!(f, "{}{protocol}", if n > 0 { " " } else { ", " })?;
        }
        if !remote.is_empty() {
            write!(f, ", with {remote}")?;
        }
        if !except.is_empty() {
            write!(f, ", not with {except}")?;
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
    operations: Vec<OperationName>,
    errno: Errno,
    #[serde(default, skip_serializing_if = "Remotes::is_empty")]
    remote: Remotes,
    #[serde(default, skip_serializing_if = "Remotes::is_empty")]
    except: Remotes,
    #[serde(default, skip_serializing_if = "PortRanges::is_empty")]
    ports: PortRanges,
    #[serde(default, skip_serializing_if = "SocketFamilies::is_any")]
    families: SocketFamilies,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    protocols: Vec<Protocol>,
    #[serde(default, skip_serializing_if = "Caller::is_anyone")]
    caller: Caller,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<Percent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    skip: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reset_open: bool,
}

impl TryFrom<Raw> for SocketError {
    type Error = Invalid;

    fn try_from(raw: Raw) -> Result<Self, Invalid> {
        let Raw { operations, errno, remote, except, ports, families, protocols, .. } = raw;
        Self {
            operations: Operations::among(operations, &SOCKET_OPERATIONS).at("operations")?,
            errno,
            sockets: Sockets { remote, except, ports, families, protocols },
            caller: raw.caller,
            occasion: Occasion::new(raw.percent, raw.skip, raw.every)?,
            partial: raw.partial,
            reset_open: raw.reset_open,
        }
        .checked()
    }
}

impl From<SocketError> for Raw {
    fn from(error: SocketError) -> Self {
        let SocketError { operations, errno, sockets, caller, occasion, partial, reset_open } =
            error;
        let (percent, skip, every) = occasion.parts();
        let Sockets { remote, except, ports, families, protocols } = sockets;
        let operations = operations.names();
        Self {
            operations,
            errno,
            remote,
            except,
            ports,
            families,
            protocols,
            caller,
            percent,
            skip,
            every,
            partial,
            reset_open,
        }
    }
}

impl TryFrom<v1::SocketError> for SocketError {
    type Error = Invalid;

    fn try_from(wire: v1::SocketError) -> Result<Self, Invalid> {
        let operations = list(wire.operations, |name| name.parse()).at("operations")?;
        let ports = list(wire.ports, |range| range.try_into());
        Self {
            operations: Operations::among(operations, &SOCKET_OPERATIONS).at("operations")?,
            errno: wire.errno.parse().at("errno")?,
            sockets: Sockets {
                remote: remotes(wire.remote).at("remote")?,
                except: remotes(wire.except).at("except")?,
                ports: ports.and_then(PortRanges::try_from).at("ports")?,
                families: list(wire.families, |family| family.parse())
                    .map(SocketFamilies::new)
                    .at("families")?,
                protocols: list(wire.protocols, protocol).at("protocols")?,
            },
            caller: wire.caller.unwrap_or_default().try_into().at("caller")?,
            occasion: wire.occasion.unwrap_or_default().try_into().at("occasion")?,
            partial: wire.partial,
            reset_open: wire.reset_open,
        }
        .checked()
    }
}

impl From<&SocketError> for v1::SocketError {
    fn from(error: &SocketError) -> Self {
        let Sockets { remote, except, ports, families, protocols } = &error.sockets;
        let texts = |cidrs: &Remotes| cidrs.iter().map(|cidr| cidr.to_string()).collect();
        Self {
            operations: error.operations.names().iter().map(ToString::to_string).collect(),
            errno: error.errno.name().to_owned(),
            remote: texts(remote),
            except: texts(except),
            ports: ports.iter().map(Into::into).collect(),
            families: families.iter().map(|family| family.to_string()).collect(),
            protocols: protocols
                .iter()
                .map(|protocol| v1::Protocol::from(protocol).into())
                .collect(),
            caller: (!error.caller.is_anyone()).then(|| (&error.caller).into()),
            occasion: Some((&error.occasion).into()),
            partial: error.partial,
            reset_open: error.reset_open,
        }
    }
}

fn remotes(wire: Vec<String>) -> Result<Remotes, Invalid> {
    list(wire, |text| text.parse()).and_then(Remotes::try_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fields: &str) -> Result<SocketError, String> {
        serde_saphyr::from_str(&format!("{{errno: EPERM, {fields}}}"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn sockets_that_cannot_be_are_refused() {
        for (fields, said) in [
            ("operations: [connect], families: [unix], ports: [80]", "have no addresses"),
            (
                "operations: [connect], families: [unix, other], protocols: [tcp]",
                "have no addresses",
            ),
            ("operations: [connect], families: [ipv4], remote: ['::1']", "none of these"),
            ("operations: [send], protocols: [icmp], ports: [80]", "ICMP has no ports"),
            ("operations: [connect], families: [unix], resetOpen: true", "only connections over"),
            ("operations: [connect], protocols: [udp], resetOpen: true", "only connections of TCP"),
        ] {
            let problem = error(fields).unwrap_err();
            assert!(problem.contains(said), "{fields}: {problem}");
        }
        for fields in [
            "operations: [connect], families: [unix, ipv4], ports: [80]",
            "operations: [bind], families: [ipv6], remote: ['::1', 127.0.0.1]",
            "operations: [connect], families: [unix, ipv6], resetOpen: true",
        ] {
            error(fields).unwrap();
        }
    }

    #[test]
    fn families_say_which_addresses_are_meant() {
        let remotes = |fields: &str| {
            let sockets = error(&format!("operations: [connect], {fields}")).unwrap().sockets;
            sockets.remotes().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(remotes("ports: [80]").is_empty());
        assert_eq!(remotes("families: [unix, ipv6]"), ["::/0"]);
        assert_eq!(remotes("families: [ipv4], remote: ['fd00::1', 10.0.0.5]"), ["10.0.0.5"]);
        assert!(remotes("families: [unix]").is_empty());
    }
}
