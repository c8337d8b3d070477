//! The wires of a test: a near end for victims, a far end to talk to, and another namespace that no
//! fault is about.
//!
//! ```text
//! near  near0 ──── far0  far  far1 ──── other0  other
//!       10.77.0.1  10.77.0.2…4  10.79.0.2   10.79.0.1
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;

use super::NetNs;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Three namespaces, wired.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) near: NetNs,
    pub(crate) far: NetNs,
    pub(crate) other: NetNs,
}

/// Every interface that a test makes has a name that begins with one of these.
pub(crate) const INTERFACES: [&str; 4] = ["near", "far", "other", "lo"];

impl Net {
    /// Makes and wires them.
    pub(crate) fn new() -> Result<Self> {
        let net = Self { near: NetNs::new()?, far: NetNs::new()?, other: NetNs::new()? };
        wire(&net.near, "near0", &net.far, "far0", 77)?;
        wire(&net.other, "other0", &net.far, "far1", 79)?;
        for last in 3..=4 {
            for family in families() {
                net.far.netlink().add_address("far0", address(family, 77, last), prefix(family))?;
            }
        }
        Ok(net)
    }
}

/// Wires two namespaces: the first gets the addresses ending in 1, the second those ending in 2.
pub(crate) fn wire(
    one: &NetNs,
    one_name: &str,
    two: &NetNs,
    two_name: &str,
    net: u8,
) -> Result<()> {
    one.netlink().add_veth(one_name, two_name, two.fd())?;
    for (netns, name, last) in [(one, one_name, 1), (two, two_name, 2)] {
        bring_up(netns, name, net, last)?;
    }
    Ok(())
}

/// Sets an interface up, with its addresses.
pub(crate) fn bring_up(netns: &NetNs, name: &str, net: u8, last: u8) -> Result<()> {
    netns.netlink().set_up(name)?;
    for family in families() {
        netns.netlink().add_address(name, address(family, net, last), prefix(family))?;
    }
    Ok(())
}

/// The families that this kernel has.
pub(crate) fn families() -> Vec<Family> {
    match super::skip::needs_ipv6() {
        Ok(()) => vec![Family::V4, Family::V6],
        Err(_) => vec![Family::V4],
    }
}

/// Address of an end of a wire.
pub(crate) fn address(family: Family, net: u8, last: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, net, 0, last).into(),
        // fd77::1 reads as 10.77.0.1 does.
        Family::V6 => {
            let head = 0xfd00 | (u16::from(net / 10) << 4) | u16::from(net % 10);
            Ipv6Addr::new(head, 0, 0, 0, 0, 0, 0, last.into()).into()
        }
    }
}

/// The near end's own address.
pub(crate) fn near(family: Family) -> IpAddr {
    address(family, 77, 1)
}

/// The far end's address, seen from the near end.
pub(crate) fn far(family: Family) -> IpAddr {
    address(family, 77, 2)
}

/// Any local address.
pub(crate) fn any(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The loopback address.
pub(crate) fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

fn prefix(family: Family) -> u8 {
    match family {
        Family::V4 => 24,
        Family::V6 => 64,
    }
}
