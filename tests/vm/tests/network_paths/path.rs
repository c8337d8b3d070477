//! Ways from the near end to the far one, beside the plain wire.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Error, Result, bail};
use netlink_packet_route::tc::TcHandle;
use nix::libc;

use crate::harness::{Family, NetNs, Stage, attribute, net, skip};

/// Of the addresses at both ends.
pub(super) const NET: u8 = 80;
/// Of the wire below.
const WIRE: u8 = 81;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The interface with the address is a bridge; packets leave by a port of it.
    Bridge,
    Vlan,
    Macvlan,
    Ipvlan,
    /// Frames in UDP.
    Vxlan,
    /// Packets in packets, without any frame.
    Ipip,
    /// An interface with four queues, and a qdisc for each.
    Queues,
    /// An interface whose packets have up to 9,000 bytes.
    Jumbo,
}

impl Path {
    pub(super) const ALL: [Self; 8] = [
        Self::Bridge,
        Self::Vlan,
        Self::Macvlan,
        Self::Ipvlan,
        Self::Vxlan,
        Self::Ipip,
        Self::Queues,
        Self::Jumbo,
    ];

    /// Bytes of a datagram that fills a packet, but for some.
    pub(super) fn datagram(self) -> usize {
        if self == Self::Jumbo { 8_900 } else { 1_200 }
    }

    pub(super) fn families(self) -> Vec<Family> {
        if self == Self::Ipip { vec![Family::V4] } else { net::families() }
    }

    /// Makes it, and takes the state then for the one to go back to.
    pub(super) fn build(self, stage: &mut Stage) -> Result<()> {
        match self.make(&stage.net.near, &stage.net.far) {
            Err(error) if is_unknown(&error) => {
                return skip(format!("this kernel has no such interface: {error:#}"));
            }
            made => made?,
        }
        stage.begin_here()
    }

    fn make(self, near: &NetNs, far: &NetNs) -> Result<()> {
        let ends = [(near, "near1", 1), (far, "far2", 2)];
        let queues = if self == Self::Queues { 4 } else { 1 };
        near.netlink().add_veth_with("near1", "far2", far.fd(), queues)?;
        for (netns, wire, last) in ends {
            let netlink = netns.netlink();
            if self == Self::Jumbo {
                netlink.set_mtu(wire, 9_000)?;
            }
            netlink.set_up(wire)?;
            let upper = format!("{wire}-up");
            let above = match self {
                Self::Queues => {
                    netlink.add_qdisc(wire, "mq", TcHandle::ROOT, 1)?;
                    wire
                }
                Self::Jumbo => wire,
                Self::Bridge => {
                    netlink.add_link(&upper, "bridge", None, Vec::new())?;
                    netlink.enslave(wire, &upper)?;
                    &upper
                }
                Self::Vlan => {
                    netlink.add_link(
                        &upper,
                        "vlan",
                        Some(wire),
                        attribute(1, &7_u16.to_ne_bytes()),
                    )?;
                    &upper
                }
                Self::Macvlan => {
                    let bridge = attribute(1, &4_u32.to_ne_bytes());
                    netlink.add_link(&upper, "macvlan", Some(wire), bridge)?;
                    &upper
                }
                Self::Ipvlan => {
                    let layer_2 = attribute(1, &0_u16.to_ne_bytes());
                    netlink.add_link(&upper, "ipvlan", Some(wire), layer_2)?;
                    &upper
                }
                Self::Vxlan => {
                    let (local, remote) = tunnel(netns, wire, last)?;
                    let (id, port) = (42_u32.to_ne_bytes(), 4789_u16.to_be_bytes());
                    let options = [(1, &id[..]), (2, &remote), (4, &local), (15, &port)];
                    let options = options.map(|(number, bytes)| attribute(number, bytes)).concat();
                    netlink.add_link(&upper, "vxlan", None, options)?;
                    &upper
                }
                Self::Ipip => {
                    let (local, remote) = tunnel(netns, wire, last)?;
                    let options = [attribute(2, &local), attribute(3, &remote)].concat();
                    netlink.add_link(&upper, "ipip", None, options)?;
                    &upper
                }
            };
            net::bring_up(netns, above, NET, last)?;
        }
        Ok(())
    }
}

/// Whether the kernel does not know a kind of interface or queue.
fn is_unknown(error: &Error) -> bool {
    let errno = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    matches!(errno, Some(libc::EOPNOTSUPP | libc::ENOENT))
}

/// Gives an end of the wire below a tunnel its address. Returns that and the other end's.
fn tunnel(netns: &NetNs, wire: &str, last: u8) -> Result<([u8; 4], [u8; 4])> {
    let (IpAddr::V4(local), IpAddr::V4(remote)) =
        (net::address(Family::V4, WIRE, last), net::address(Family::V4, WIRE, 3 - last))
    else {
        bail!("an address of IPv4 is none");
    };
    netns.netlink().add_address(wire, local.into(), 24)?;
    Ok((local.octets(), Ipv4Addr::octets(&remote)))
}
