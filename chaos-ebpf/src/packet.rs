//! What a rule may ask of a packet: the two ends, ports, protocol, and what is on the way with it.
//!
//! Headers are read relative to the network header, so devices with and without a link layer, and
//! both kinds of hook, look the same.

use core::mem::MaybeUninit;

use crate::protocol::{
    IPPROTO_AH, IPPROTO_DSTOPTS, IPPROTO_FRAGMENT, IPPROTO_HOPOPTS, IPPROTO_ICMP, IPPROTO_ICMPV6,
    IPPROTO_ROUTING, IPPROTO_TCP, IPPROTO_UDP,
};
use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::generated::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative},
};
use chaos_common::abi::{Direction, FAMILY_V4, FAMILY_V6, INTERFACE_NAME, Protocol, flow_hash};

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86DD;

/// Bytes of the link header of most devices.
pub const ETHERNET: u32 = 14;
/// The same with a VLAN tag.
pub const VLAN: u32 = 18;

/// IPv6 extension headers that are walked; a packet with more of them has no ports for us.
const MAX_EXTENSIONS: usize = 6;

/// A program's context, as its global functions get it.
#[derive(Clone, Copy)]
pub struct Skb(*mut __sk_buff);

impl Skb {
    /// # Safety
    /// `skb` is the context of the program that runs.
    #[inline(always)]
    pub const unsafe fn new(skb: *mut __sk_buff) -> Self {
        Self(skb)
    }

    /// Of a program.
    #[inline(always)]
    pub fn of(ctx: &impl EbpfContext) -> Self {
        Self(ctx.as_ptr().cast())
    }

    /// Valid while the program runs.
    #[inline(always)]
    pub const fn raw(self) -> *mut __sk_buff {
        self.0
    }
}

/// A packet as a rule sees it. Addresses are in network byte order, IPv4 in the first four bytes;
/// ports are in host byte order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Packet {
    /// `FAMILY_V4` or `FAMILY_V6`.
    pub family: u32,
    /// IP protocol number.
    pub protocol: u32,
    /// Bytes from the network header on, or with the link header where the hook sees one.
    pub length: u32,
    /// 1 if the ports are known: TCP or UDP, and not a later fragment.
    pub has_ports: u32,
    pub local_port: u16,
    pub remote_port: u16,
    /// Bytes on the wire, with the headers that each segment of it will have, where the hook knows them.
    pub wire_length: u32,
    /// Those of them that are the device's: what is in front of the IP headers.
    pub link_length: u32,
    /// The DSCP of the traffic class.
    pub dscp: u32,
    /// Where the header of the transport begins, from the network header on; 0 where there is none.
    pub transport: u32,
    /// Where the packet ends, from the network header on; 0 where it does not say.
    pub end: u32,
    /// 1 for the first packet of a TCP connection in its direction (SYN).
    pub opens: u32,
    /// With what number whoever opens the connection begins, if this packet opens it.
    pub opening: u32,
    /// Bytes behind the header of TCP, where the packet says where it ends.
    pub payload: u32,
    /// 1 once somebody has read whether it is a question to a name server.
    pub knows_question: u32,
    pub local: [u8; 16],
    pub remote: [u8; 16],
    /// Where the kernel has the cgroup of the socket at the other end; 0 where there is none.
    pub peer: u64,
    /// The depth of that cgroup.
    pub peer_level: u32,
    /// 1 once somebody looked.
    pub knows_peer: u32,
    /// Of the device that it is on; zeroes while no rule asks for it.
    pub interface: [u8; INTERFACE_NAME],
    /// What the rules that were asked so far want of it.
    pub verdict: Verdict,
}

/// What rules want of one packet, besides its end.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Verdict {
    /// When it may leave, on the monotonic clock; 0 is now.
    pub departure_ns: u64,
    /// Which line it waits in; 0 is that of its connection, in which none overtakes another.
    pub line: u32,
    /// What its sender gets instead of it: an [`Answer`](chaos_common::abi::Answer), or 0.
    pub answer: u32,
    /// How many come besides itself.
    pub copies: u32,
    /// The rule that corrupts it, or 0.
    pub corrupter: u32,
    /// What the corrupting rule's draw is.
    pub corruption: u64,
    /// What the answering rule's draw is.
    pub draw: u64,
    /// The rule that has records for the answer, or 0.
    pub responder: u32,
    /// Keeps the layout.
    pub reserved: u32,
}

/// The bit of a protocol in `NetFilter::protocols`, or 0.
#[inline(always)]
pub(crate) fn protocol_bit(protocol: u32) -> u32 {
    match protocol as u8 {
        IPPROTO_TCP => Protocol::Tcp as u32,
        IPPROTO_UDP => Protocol::Udp as u32,
        IPPROTO_ICMP | IPPROTO_ICMPV6 => Protocol::Icmp as u32,
        _ => 0,
    }
}

impl Packet {
    /// The bit of `NetFilter::protocols`, or 0.
    #[inline(always)]
    pub fn protocol_bit(&self) -> u32 {
        protocol_bit(self.protocol)
    }

    /// Reads the headers. `None` for what is not IP, is cut short, or is the kernel's own.
    #[inline(always)]
    pub fn read(&mut self, skb: Skb, direction: Direction) -> Option<()> {
        let skb = skb.raw();
        // SAFETY: the context is valid while the program runs; these fields are readable in both hooks.
        let (ethertype, length) = unsafe { (u16::from_be((*skb).protocol as u16), (*skb).len) };
        (self.length, self.wire_length) = (length, length);
        (self.has_ports, self.local_port, self.remote_port) = (0, 0, 0);
        (self.dscp, self.opens, self.opening, self.transport, self.end) = (0, 0, 0, 0, 0);
        (self.link_length, self.payload) = (0, 0);
        (self.peer, self.knows_peer, self.knows_question) = (0, 0, 0);
        self.interface = [0; INTERFACE_NAME];
        self.verdict = Verdict::default();
        match ethertype {
            ETH_P_IP => self.read_v4(skb, direction),
            ETH_P_IPV6 => self.read_v6(skb, direction),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_v4(&mut self, skb: *mut __sk_buff, direction: Direction) -> Option<()> {
        // Nearly every header has no options, and the ports behind it: one copy for both. What is too short
        // for that can have no ports.
        let header: [u8; 24] = match relative(skb, 0) {
            Some(header) => header,
            None => {
                let short: [u8; 20] = relative(skb, 0)?;
                let mut header = [0; 24];
                header[..20].copy_from_slice(&short);
                header
            }
        };
        self.family = FAMILY_V4;
        self.protocol = u32::from(header[9]);
        self.dscp = u32::from(header[1] >> 2);
        let (local, remote) = match direction {
            Direction::Out => (12, 16),
            Direction::In => (16, 12),
        };
        self.local[..4].copy_from_slice(&header[local..local + 4]);
        self.remote[..4].copy_from_slice(&header[remote..remote + 4]);
        self.end = u32::from(u16::from_be_bytes([header[2], header[3]]));
        let is_later_fragment = (header[6] & 0x1f) | header[7] != 0;
        if !is_later_fragment {
            self.transport = u32::from(header[0] & 0x0f) * 4;
        }
        if has_ports(header[9]) && !is_later_fragment {
            let words = header[0] & 0x0f;
            let ports = if words == 5 {
                Some([header[20], header[21], header[22], header[23]])
            } else {
                relative(skb, u32::from(words) * 4)
            };
            self.set_ports(ports, direction);
            self.read_flags(skb, u32::from(words) * 4);
        }
        Some(())
    }

    #[inline(always)]
    fn read_v6(&mut self, skb: *mut __sk_buff, direction: Direction) -> Option<()> {
        let header: [u8; 40] = relative(skb, 0)?;
        self.family = FAMILY_V6;
        // The traffic class lies across two bytes; the DSCP is its upper six bits.
        self.dscp = u32::from((header[0] & 0x0f) << 2 | header[1] >> 6);
        let (local, remote) = match direction {
            Direction::Out => (8, 24),
            Direction::In => (24, 8),
        };
        self.local.copy_from_slice(&header[local..local + 16]);
        self.remote.copy_from_slice(&header[remote..remote + 16]);
        self.end = match u16::from_be_bytes([header[4], header[5]]) {
            0 => 0,
            length => u32::from(length) + 40,
        };
        let mut protocol = header[6];
        let mut at = 40;
        let mut is_later_fragment = false;
        for _ in 0..MAX_EXTENSIONS {
            let length = match protocol {
                IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_DSTOPTS | IPPROTO_AH
                | IPPROTO_FRAGMENT => {
                    let extension: [u8; 4] = relative(skb, at)?;
                    let length = match protocol {
                        IPPROTO_AH => (u32::from(extension[1]) + 2) * 4,
                        IPPROTO_FRAGMENT => {
                            is_later_fragment |= extension[2] | (extension[3] & 0xf8) != 0;
                            8
                        }
                        _ => (u32::from(extension[1]) + 1) * 8,
                    };
                    protocol = extension[0];
                    length
                }
                _ => break,
            };
            at += length;
        }
        self.protocol = u32::from(protocol);
        if is_later_fragment {
            return Some(());
        }
        self.transport = at;
        if protocol == IPPROTO_ICMPV6 {
            let [kind] = relative::<1>(skb, at)?;
            return (!is_link_upkeep(kind)).then_some(());
        }
        if has_ports(protocol) {
            self.set_ports(relative(skb, at), direction);
            self.read_flags(skb, at);
        }
        Some(())
    }

    /// Digest of both ends and the protocol: the same for all packets of a connection.
    #[inline(always)]
    pub fn flow(&self) -> u64 {
        let (local, remote) = ((&self.local, self.local_port), (&self.remote, self.remote_port));
        flow_hash(self.family, self.protocol, local, remote)
    }

    /// Only what a rule may ask for, and only of TCP.
    #[inline(always)]
    fn read_flags(&mut self, skb: *mut __sk_buff, transport: u32) {
        const SYN: u8 = 2;
        const ACK: u8 = 16;
        if self.protocol as u8 != IPPROTO_TCP {
            return;
        }
        let Some(header) = relative::<10>(skb, transport + 4) else { return };
        self.payload = self.end.saturating_sub(transport + u32::from(header[8] >> 4) * 4);
        if header[9] & SYN != 0 {
            let word = |at: usize| {
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            self.opens = 1;
            // Whoever answers has counted the SYN.
            self.opening = if header[9] & ACK == 0 { word(0) } else { word(4).wrapping_sub(1) };
        }
    }

    #[inline(always)]
    fn set_ports(&mut self, ports: Option<[u8; 4]>, direction: Direction) {
        let Some([a, b, c, d]) = ports else { return };
        let (source, destination) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        (self.local_port, self.remote_port) = match direction {
            Direction::Out => (source, destination),
            Direction::In => (destination, source),
        };
        self.has_ports = 1;
    }
}

#[inline(always)]
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, IPPROTO_TCP | IPPROTO_UDP)
}

/// Neighbour discovery and multicast membership (RFC 4861, 2710, 3810). The kernel speaks them for all
/// who share a network namespace, through a socket that belongs to whoever made the namespace.
#[inline(always)]
fn is_link_upkeep(kind: u8) -> bool {
    matches!(kind, 130..=137 | 143)
}

/// Copies bytes from behind the start of the network header.
#[inline(always)]
pub fn relative<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the helper writes `N` bytes, zeroes if it fails; the destination has `N`.
    let status = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            at,
            bytes.as_mut_ptr().cast(),
            N as u32,
            BPF_HDR_START_NET,
        )
    };
    // SAFETY: written in any case, see above.
    (status == 0).then(|| unsafe { bytes.assume_init() })
}

/// Where the network header begins; a program cannot ask, but it can compare.
#[inline(always)]
pub fn network(skb: *mut __sk_buff) -> Option<u32> {
    match net_network(skb) {
        NOWHERE => None,
        at => Some(at),
    }
}

const NOWHERE: u32 = u32::MAX;

/// A global function: see `net::judge`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_network(skb: *mut __sk_buff) -> u32 {
    let Some(bytes) = relative::<16>(skb, 0) else { return NOWHERE };
    let header = u128::from_ne_bytes(bytes);
    let is_at =
        |at: u32| absolute::<16>(skb, at).is_some_and(|bytes| u128::from_ne_bytes(bytes) == header);
    let total = match bytes[0] >> 4 {
        4 => u32::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        _ => 40 + u32::from(u16::from_be_bytes([bytes[4], bytes[5]])),
    };
    // SAFETY: the context is valid while the program runs.
    let in_front = unsafe { (*skb).len }.saturating_sub(total);
    if is_at(ETHERNET) {
        ETHERNET
    } else if is_at(0) {
        0
    } else if is_at(VLAN) {
        VLAN
    } else if is_at(in_front) {
        // Before 5.14 what comes out of a tunnel still has the headers that it came in, as if they were its link's.
        in_front
    } else {
        NOWHERE
    }
}

/// Copies bytes from behind the start of the packet.
#[inline(always)]
pub fn absolute<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: as in `relative`.
    unsafe {
        let status = bpf_skb_load_bytes(skb.cast(), at, bytes.as_mut_ptr().cast(), N as u32);
        (status == 0).then(|| bytes.assume_init())
    }
}
