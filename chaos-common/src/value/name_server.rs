//! Where a name server listens.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::invalid::{Invalid, shown};

/// Where name servers listen: RFC 1035, 4.2.
pub const DNS_PORT: u16 = 53;

/// Address and port of a name server: `10.0.0.2`, `fd00::2`, `10.0.0.2:5353` or `[fd00::2]:5353`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameServer(SocketAddr);

impl NameServer {
    /// An IPv6 address that stands for one of IPv4 is that.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for NameServer {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let address = || bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT));
        let given = text.parse::<SocketAddr>().or_else(|_| address()).map_err(|_| {
            Invalid::new(format!(
                "{} is no address of a name server; give one as 10.0.0.2, 10.0.0.2:5353 or [fd00::2]:5353",
                shown(text)
            ))
        })?;
        let (address, port) = (given.ip().to_canonical(), given.port());
        let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
        if port == 0 || address.is_unspecified() || address.is_multicast() || is_broadcast {
            return Err(Invalid::new(format!("{}: nobody listens there", shown(text))));
        }
        if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
            let problem = "is an address of one link; give one that is reached from all";
            return Err(Invalid::new(format!("{} {problem}", shown(text))));
        }
        Ok(Self(SocketAddr::new(address, port)))
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == DNS_PORT { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}

super::serde_as_text!(NameServer, "an address of a name server, as 10.0.0.2 or 10.0.0.2:5353");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_be_left_out() {
        for (text, at, said) in [
            ("10.0.0.2", "10.0.0.2:53", "10.0.0.2"),
            ("10.0.0.2:5353", "10.0.0.2:5353", "10.0.0.2:5353"),
            ("fd00::2", "[fd00::2]:53", "fd00::2"),
            ("[fd00::2]", "[fd00::2]:53", "fd00::2"),
            ("[fd00::2]:5353", "[fd00::2]:5353", "[fd00::2]:5353"),
            ("::ffff:10.0.0.2", "10.0.0.2:53", "10.0.0.2"),
        ] {
            let server: NameServer = text.parse().unwrap();
            assert_eq!((server.get().to_string(), server.to_string()), (at.into(), said.into()));
        }
        for text in [
            "",
            "a",
            "10.0.0",
            "10.0.0.2:0",
            "0.0.0.0",
            "::",
            "224.0.0.251",
            "10.0.0.2:x",
            "fe80::1",
            "[fe80::1%2]:53",
        ] {
            assert!(text.parse::<NameServer>().is_err(), "{text}");
        }
    }
}
