//! Interfaces, addresses and traffic control of one network namespace, by rtnetlink.

use std::{
    net::{IpAddr, Ipv6Addr},
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, Result, bail, ensure};
use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    neighbour::{NeighbourAttribute, NeighbourMessage},
    tc::{TcAttribute, TcHandle, TcMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;

/// Of `ndmsg`: a neighbour's network address.
const NDA_DST: u16 = 1;

/// A socket into the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Netlink(Socket);

/// A message of a dump: its fixed part and its attributes, undecoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Raw {
    /// `ifinfomsg`, `tcmsg`.
    pub(crate) head: Vec<u8>,
    /// Number and bytes.
    pub(crate) attributes: Vec<(u16, Vec<u8>)>,
}

impl Raw {
    /// The bytes of an attribute.
    pub(crate) fn attribute(&self, number: u16) -> Option<&[u8]> {
        self.attributes.iter().find(|(n, _)| *n == number).map(|(_, bytes)| bytes.as_slice())
    }

    /// A 32-bit number of the fixed part.
    pub(crate) fn head_u32(&self, at: usize) -> u32 {
        self.head
            .get(at..at + 4)
            .map_or(0, |bytes| u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

impl Netlink {
    /// Opens a socket into the namespace of this thread.
    pub(crate) fn open() -> Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open a netlink socket")?;
        socket.bind_auto().context("cannot bind a netlink socket")?;
        Ok(Self(socket))
    }

    /// Makes a pair of interfaces, the second in another namespace.
    pub(crate) fn add_veth(
        &self,
        name: &str,
        peer: &str,
        peer_netns: BorrowedFd<'_>,
    ) -> Result<()> {
        self.add_veth_with(name, peer, peer_netns, 1)
    }

    /// The same with so many queues on each side.
    pub(crate) fn add_veth_with(
        &self,
        name: &str,
        peer: &str,
        peer_netns: BorrowedFd<'_>,
        queues: u32,
    ) -> Result<()> {
        let mut far = LinkMessage::default();
        let queues = [LinkAttribute::NumTxQueues(queues), LinkAttribute::NumRxQueues(queues)];
        far.attributes.extend(queues.clone());
        far.attributes.push(LinkAttribute::IfName(peer.into()));
        far.attributes.push(LinkAttribute::NetNsFd(peer_netns.as_raw_fd()));
        let mut near = LinkMessage::default();
        near.attributes.extend(queues);
        near.attributes.push(LinkAttribute::IfName(name.into()));
        near.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]));
        self.change(RouteNetlinkMessage::NewLink(near), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot make the interfaces {name} and {peer}"))
    }

    /// Makes an interface of a kind, over another one if that is named, with options as the kernel reads them.
    pub(crate) fn add_link(
        &self,
        name: &str,
        kind: &str,
        over: Option<&str>,
        options: Vec<u8>,
    ) -> Result<()> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        if let Some(over) = over {
            link.attributes.push(LinkAttribute::Link(self.index(over)?));
        }
        let mut info = vec![LinkInfo::Kind(InfoKind::Other(kind.into()))];
        if !options.is_empty() {
            info.push(LinkInfo::Data(InfoData::Other(options)));
        }
        link.attributes.push(LinkAttribute::LinkInfo(info));
        self.change(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot make the interface {name} of the kind {kind}"))
    }

    /// Makes an interface a port of a bridge.
    pub(crate) fn enslave(&self, name: &str, bridge: &str) -> Result<()> {
        let mut link = self.named(name)?;
        link.attributes.push(LinkAttribute::Controller(self.index(bridge)?));
        self.change(RouteNetlinkMessage::NewLink(link), 0)
            .with_context(|| format!("cannot make {name} a port of {bridge}"))
    }

    /// Sets how large the packets of an interface may be.
    pub(crate) fn set_mtu(&self, name: &str, bytes: u32) -> Result<()> {
        let mut link = self.named(name)?;
        link.attributes.push(LinkAttribute::Mtu(bytes));
        self.change(RouteNetlinkMessage::NewLink(link), 0)
            .with_context(|| format!("cannot set the MTU of {name}"))
    }

    /// Sets an interface up.
    pub(crate) fn set_up(&self, name: &str) -> Result<()> {
        let mut link = self.named(name)?;
        link.header.flags = LinkFlags::Up;
        link.header.change_mask = LinkFlags::Up;
        self.change(RouteNetlinkMessage::NewLink(link), 0)
            .with_context(|| format!("cannot set {name} up"))
    }

    /// Gives an interface an address, usable at once.
    pub(crate) fn add_address(&self, name: &str, address: IpAddr, prefix: u8) -> Result<()> {
        let mut message = AddressMessage::default();
        message.header.family =
            if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.prefix_len = prefix;
        message.header.flags = AddressHeaderFlags::Nodad;
        message.header.index = self.index(name)?;
        message.attributes.push(AddressAttribute::Local(address));
        message.attributes.push(AddressAttribute::Address(address));
        self.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot give {name} the address {address}"))
    }

    /// Moves an interface to another namespace.
    pub(crate) fn move_to(&self, name: &str, netns: BorrowedFd<'_>) -> Result<()> {
        let mut link = self.named(name)?;
        link.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        self.change(RouteNetlinkMessage::NewLink(link), 0)
            .with_context(|| format!("cannot move {name}"))
    }

    /// Forgets who the IPv6 neighbours at an interface are. Returns how many it knew.
    pub(crate) fn forget_neighbours(&self, name: &str) -> Result<usize> {
        let index = self.index(name)?;
        let known = self.neighbours(index)?;
        for address in &known {
            let mut message = NeighbourMessage::default();
            message.header.family = AddressFamily::Inet6;
            message.header.ifindex = index;
            message.attributes.push(NeighbourAttribute::Destination((*address).into()));
            self.change(RouteNetlinkMessage::DelNeighbour(message), 0)
                .with_context(|| format!("cannot forget the neighbour {address}"))?;
        }
        ensure!(self.neighbours(index)?.is_empty(), "{name} still knows neighbours");
        Ok(known.len())
    }

    /// IPv6 neighbours that were asked for, whatever came of it.
    fn neighbours(&self, index: u32) -> Result<Vec<Ipv6Addr>> {
        let mut request = [0; 12];
        request[0] = libc::AF_INET6 as u8;
        let all = self.dump(libc::RTM_GETNEIGH, &request, 12).context("cannot list neighbours")?;
        let address = |raw: &Raw| {
            let bytes: [u8; 16] = raw.attribute(NDA_DST)?.try_into().ok()?;
            Some(Ipv6Addr::from(bytes)).filter(|address| !address.is_multicast())
        };
        Ok(all.iter().filter(|raw| raw.head_u32(4) == index).filter_map(address).collect())
    }

    /// Removes an interface.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let link = self.named(name)?;
        self.change(RouteNetlinkMessage::DelLink(link), 0)
            .with_context(|| format!("cannot delete {name}"))
    }

    /// Adds a queueing discipline without options, as a user's `tc qdisc add` does.
    pub(crate) fn add_qdisc(
        &self,
        name: &str,
        kind: &str,
        parent: TcHandle,
        handle: u16,
    ) -> Result<()> {
        let mut message = TcMessage::with_index(self.index(name)? as i32);
        message.header.parent = parent;
        message.header.handle = TcHandle { major: handle, minor: 0 };
        message.attributes.push(TcAttribute::Kind(kind.into()));
        self.change(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot add the qdisc {kind} to {name}"))
    }

    /// Adds one at the root, with options as the kernel reads them.
    pub(crate) fn add_root(
        &self,
        name: &str,
        kind: &str,
        handle: u16,
        options: Vec<u8>,
    ) -> Result<()> {
        let mut message = TcMessage::with_index(self.index(name)? as i32);
        message.header.parent = TcHandle::ROOT;
        message.header.handle = TcHandle { major: handle, minor: 0 };
        message.attributes.push(TcAttribute::Kind(kind.into()));
        message.attributes.push(TcAttribute::Other(DefaultNla::new(libc::TCA_OPTIONS, options)));
        self.change(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot add the qdisc {kind} to {name}"))
    }

    /// Adds a class of the qdisc at the root.
    pub(crate) fn add_class(
        &self,
        name: &str,
        kind: &str,
        class: TcHandle,
        options: Vec<u8>,
    ) -> Result<()> {
        let mut message = TcMessage::with_index(self.index(name)? as i32);
        message.header.parent = TcHandle { major: class.major, minor: 0 };
        message.header.handle = class;
        message.attributes.push(TcAttribute::Kind(kind.into()));
        message.attributes.push(TcAttribute::Other(DefaultNla::new(libc::TCA_OPTIONS, options)));
        self.change(RouteNetlinkMessage::NewTrafficClass(message), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot add a class to {name}"))
    }

    /// The classes of an interface.
    pub(crate) fn classes(&self, index: u32) -> Result<Vec<Raw>> {
        let mut request = [0; 20];
        request[4..8].copy_from_slice(&index.to_ne_bytes());
        self.dump(libc::RTM_GETTCLASS, &request, 20).context("cannot list classes")
    }

    /// Adds a filter that matches everything and does nothing, as a user's `tc filter add` does.
    pub(crate) fn add_filter(&self, name: &str, parent: TcHandle, priority: u16) -> Result<()> {
        self.add_filter_of(name, parent, priority, libc::ETH_P_ALL)
    }

    /// The same for what has this protocol.
    pub(crate) fn add_filter_of(
        &self,
        name: &str,
        parent: TcHandle,
        priority: u16,
        protocol: i32,
    ) -> Result<()> {
        let mut message = TcMessage::with_index(self.index(name)? as i32);
        message.header.parent = parent;
        message.header.info = u32::from(priority) << 16 | u32::from((protocol as u16).to_be());
        message.attributes.push(TcAttribute::Kind("matchall".into()));
        message.attributes.push(TcAttribute::Options(Vec::new()));
        self.change(RouteNetlinkMessage::NewTrafficFilter(message), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("cannot add a filter to {name}"))
    }

    /// Deletes a filter that [`Netlink::filters`] found, as a user's `tc filter del` does.
    pub(crate) fn delete_filter(&self, filter: &Raw) -> Result<()> {
        let mut message = TcMessage::with_index(filter.head_u32(4) as i32);
        message.header.handle = TcHandle::from(filter.head_u32(8));
        message.header.parent = TcHandle::from(filter.head_u32(12));
        message.header.info = filter.head_u32(16);
        let kind = filter.attribute(libc::TCA_KIND).context("a filter without a kind")?;
        let kind = String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned();
        message.attributes.push(TcAttribute::Kind(kind));
        self.change(RouteNetlinkMessage::DelTrafficFilter(message), 0)
            .context("cannot delete a filter")
    }

    /// Deletes the queueing discipline of this handle under a parent.
    pub(crate) fn delete_qdisc(&self, name: &str, parent: TcHandle, handle: u16) -> Result<()> {
        let mut message = TcMessage::with_index(self.index(name)? as i32);
        message.header.parent = parent;
        message.header.handle = TcHandle { major: handle, minor: 0 };
        self.change(RouteNetlinkMessage::DelQueueDiscipline(message), 0)
            .with_context(|| format!("cannot delete a qdisc of {name}"))
    }

    /// Number and name of every interface.
    pub(crate) fn interfaces(&self) -> Result<Vec<(u32, String)>> {
        let links = self.dump(libc::RTM_GETLINK, &[0; 16], 16).context("cannot list interfaces")?;
        let name = |raw: &Raw| {
            let bytes = raw.attribute(libc::IFLA_IFNAME)?;
            Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned())
        };
        Ok(links.iter().filter_map(|raw| Some((raw.head_u32(4), name(raw)?))).collect())
    }

    /// Every queueing discipline.
    pub(crate) fn qdiscs(&self) -> Result<Vec<Raw>> {
        self.dump(libc::RTM_GETQDISC, &[0; 20], 20).context("cannot list qdiscs")
    }

    /// The filters of an interface under a parent.
    pub(crate) fn filters(&self, index: u32, parent: u32) -> Result<Vec<Raw>> {
        let mut request = [0; 20];
        request[4..8].copy_from_slice(&index.to_ne_bytes());
        request[12..16].copy_from_slice(&parent.to_ne_bytes());
        self.dump(libc::RTM_GETTFILTER, &request, 20).context("cannot list filters")
    }

    /// The number of an interface.
    pub(crate) fn index(&self, name: &str) -> Result<u32> {
        let all = self.interfaces()?;
        let found = all.into_iter().find(|(_, other)| other == name);
        Ok(found.with_context(|| format!("there is no interface {name}"))?.0)
    }

    fn named(&self, name: &str) -> Result<LinkMessage> {
        let mut link = LinkMessage::default();
        link.header.index = self.index(name)?;
        Ok(link)
    }

    fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<()> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.0.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let (answer, _) = self.0.recv_from_full()?;
        let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.code.is_none() => Ok(()),
            NetlinkPayload::Error(error) => Err(error.to_io().into()),
            other @ (NetlinkPayload::Noop | NetlinkPayload::Overrun(_) | _) => {
                bail!("unexpected netlink answer {other:?}")
            }
        }
    }

    fn dump(&self, kind: u16, request: &[u8], head: usize) -> Result<Vec<Raw>> {
        let length = (16 + request.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(request);
        self.0.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        let mut found = Vec::new();
        loop {
            let (answer, _) = self.0.recv_from_full()?;
            let mut rest = answer.as_slice();
            while rest.len() >= 16 {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                if length < 16 || length > rest.len() {
                    bail!("a netlink message is cut short");
                }
                let body = &rest[16..length];
                match i32::from(u16::from_ne_bytes([rest[4], rest[5]])) {
                    libc::NLMSG_DONE => return Ok(found),
                    libc::NLMSG_ERROR => {
                        let code = body
                            .get(..4)
                            .map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                        return Err(std::io::Error::from_raw_os_error(-code).into());
                    }
                    _ => found.push(raw(body, head)),
                }
                rest = &rest[align(length).min(rest.len())..];
            }
        }
    }
}

/// An attribute as the kernel reads it, padded.
pub(crate) fn attribute(number: u16, bytes: &[u8]) -> Vec<u8> {
    let length = (4 + bytes.len()) as u16;
    let mut all = [&length.to_ne_bytes()[..], &number.to_ne_bytes(), bytes].concat();
    all.resize(align(all.len()), 0);
    all
}

fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn raw(body: &[u8], head: usize) -> Raw {
    let (head, mut rest) = body.split_at(head.min(body.len()));
    let mut attributes = Vec::new();
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        if length < 4 || length > rest.len() {
            break;
        }
        // The two top bits are flags.
        let number = u16::from_ne_bytes([rest[2], rest[3]]) & 0x3fff;
        attributes.push((number, rest[4..length].to_vec()));
        rest = &rest[align(length).min(rest.len())..];
    }
    Raw { head: head.to_vec(), attributes }
}
