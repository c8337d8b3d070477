//! Addresses of the other end.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    abi,
    invalid::{Invalid, shown},
    value::ranges::{Range, Ranges},
};

/// An address range. A single address is a range of one; an IPv4-mapped IPv6 range is the IPv4 range
/// that goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Length of the prefix in bits.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// The lowest address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.0.network()
    }

    /// Of which family of sockets it is.
    #[must_use]
    pub const fn family(self) -> abi::SocketFamily {
        match self.0 {
            IpNet::V4(_) => abi::SocketFamily::V4,
            IpNet::V6(_) => abi::SocketFamily::V6,
        }
    }

    /// Key and prefix length of this range in the kernel's map, for a rule.
    #[must_use]
    pub fn to_abi(self, rule: u32) -> (u32, abi::Prefix) {
        let mut address = [0; 16];
        let family = match self.0 {
            IpNet::V4(net) => {
                address[..4].copy_from_slice(&net.network().octets());
                abi::FAMILY_V4
            }
            IpNet::V6(net) => {
                address = net.network().octets();
                abi::FAMILY_V6
            }
        };
        let bits = abi::PREFIX_HEAD_BITS + u32::from(self.0.prefix_len());
        (bits, abi::Prefix { rule, family, address })
    }
}

impl From<IpNet> for Cidr {
    fn from(net: IpNet) -> Self {
        let unmapped = match net {
            IpNet::V6(v6) if v6.prefix_len() >= 96 => v6
                .addr()
                .to_ipv4_mapped()
                .and_then(|v4: Ipv4Addr| Ipv4Net::new(v4, v6.prefix_len() - 96).ok()),
            IpNet::V4(_) | IpNet::V6(_) => None,
        };
        Self(unmapped.map_or(net, IpNet::V4).trunc())
    }
}

impl FromStr for Cidr {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self::from).map_err(|_| {
            Invalid::new(format!(
                "{} is no address range; give an address or a CIDR as 10.0.0.0/8 or fd00::/8",
                shown(text)
            ))
        })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

super::serde_as_text!(Cidr, "an address or a CIDR, as 10.0.0.0/8 or fd00::/8");

/// Up to 1,024 ranges, each there once; none is no condition.
pub type Remotes = Ranges<Cidr>;

impl Remotes {
    /// Ranges that one list can hold.
    pub const MAX: usize = 1024;

    /// Whether every address of a range is in one of these that lies within it.
    #[must_use]
    pub fn fill(&self, range: Cidr) -> bool {
        let within: Vec<IpNet> =
            self.iter().map(|one| one.0).filter(|one| range.0.contains(one)).collect();
        IpNet::aggregate(&within) == [range.0]
    }
}

impl Cidr {
    /// All addresses of IPv4, and all of IPv6.
    pub const EVERYTHING: [Self; 2] = [
        Self(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0))),
        Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0))),
    ];
}

impl Range for Cidr {
    fn checked(mut ranges: Vec<Self>) -> Result<Vec<Self>, Invalid> {
        let mut seen = std::collections::HashSet::new();
        ranges.retain(|range| seen.insert(*range));
        if ranges.len() > Remotes::MAX {
            return Err(Invalid::new(format!(
                "{} address ranges are too many; a fault takes {}",
                ranges.len(),
                Remotes::MAX
            )));
        }
        Ok(ranges)
    }
}

impl Remotes {
    /// Which addresses a rule is about that lists these, or does not, and leaves out others; as the kernel reads it.
    #[must_use]
    pub fn to_abi(is_listed: bool, except: &Self) -> abi::Remotes {
        match (is_listed, except.is_empty()) {
            (true, _) => abi::Remotes::Listed,
            (false, false) => abi::Remotes::AllBut,
            (false, true) => abi::Remotes::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ranges_of_one_and_mapped_ranges_are_v4() {
        for (text, shown) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("fd00::1/8", "fd00::/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), shown);
        }
        for text in ["", "10.0.0.0/33", "example.org", "10.0.0", "fe80::1%eth0", "10.0.0.0/-1"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_fill_another_one_together() {
        let fill = |ranges: &[&str], range: &str| {
            let ranges: Vec<Cidr> = ranges.iter().map(|text| text.parse().unwrap()).collect();
            Remotes::try_from(ranges).unwrap().fill(range.parse().unwrap())
        };
        assert!(fill(&["0.0.0.0/1", "128.0.0.0/1", "::/0"], "0.0.0.0/0"));
        assert!(fill(&["10.0.0.0/9", "10.128.0.0/10", "10.192.0.0/10"], "10.0.0.0/8"));
        assert!(!fill(&["10.0.0.0/9"], "10.0.0.0/8"));
        assert!(!fill(&["0.0.0.0/0"], "10.0.0.0/8"));
        assert!(!fill(&[], "10.0.0.0/8"));
    }

    #[test]
    fn the_kernel_key_counts_its_head() {
        let (bits, prefix) = "10.0.0.0/8".parse::<Cidr>().unwrap().to_abi(7);
        assert_eq!((bits, prefix.rule, prefix.family), (72, 7, abi::FAMILY_V4));
        assert_eq!(prefix.address[..2], [10, 0]);
    }
}
