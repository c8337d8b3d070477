//! The devices of hops, as links of this thread's network namespace.

use std::{io, os::fd::AsRawFd as _};

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute,
        LinkFlags, LinkInfo, LinkMessage,
    },
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::super::{
    Instance,
    instance::HopEnd,
    netlink::{absent_is_fine, request},
};

/// The largest packet, with everything that a device saves the stack from cutting.
const MTU: u32 = 65_535;

pub(super) fn add_pair(instance: Instance, from: HopEnd, to: HopEnd) -> io::Result<()> {
    let end = |end| {
        let mut link = LinkMessage::default();
        link.header.index = instance.hop_index(end);
        let name = LinkAttribute::IfName(instance.hop_name(end));
        link.attributes = vec![name, LinkAttribute::Mtu(MTU)];
        link
    };
    let (mut pair, exit) = (end(from), end(to));
    pair.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(exit))),
    ]));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request(RouteNetlinkMessage::NewLink(pair), flags).map(drop)
}

/// Lets the stack compute checksums before a device has a packet, which for that has to be one packet.
pub(super) fn save_no_work(name: &str) -> io::Result<()> {
    /// `ETHTOOL_STXCSUM` of `linux/ethtool.h`.
    const SET_TX_CHECKSUM: u32 = 0x17;

    /// `struct ethtool_value`.
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }

    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut value = Value { command: SET_TX_CHECKSUM, data: 0 };
    // SAFETY: all zeroes is an empty name and no value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the kernel reads a name that ends with a zero, and a value that outlives the call.
    unsafe { ethtool(socket.as_raw_fd(), &raw mut request) }?;
    Ok(())
}

nix::ioctl_readwrite_bad! {
    /// What `ethtool` asks of a device.
    ethtool, libc::SIOCETHTOOL, libc::ifreq
}

/// It gives itself no address, so nothing is sent through it but what we send.
pub(super) fn no_address() -> LinkAttribute {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])])
}

pub(super) fn set_link(
    index: u32,
    attributes: Vec<LinkAttribute>,
    flags: Option<LinkFlags>,
) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    if let Some(flags) = flags {
        link.header.flags = flags;
        link.header.change_mask = flags;
    }
    link.attributes = attributes;
    request(RouteNetlinkMessage::SetLink(link), NLM_F_ACK).map(drop)
}

/// Removes an interface. Nothing there is no error.
pub(super) fn delete(index: u32) -> io::Result<()> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    absent_is_fine(request(RouteNetlinkMessage::DelLink(link), NLM_F_ACK))
}
