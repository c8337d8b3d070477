//! What a rule may ask of a packet: the two ends, ports and protocol.
//!
//! Headers are read relative to the network header, so devices with and without a link layer, and
//! both kinds of hook, look the same.

use aya_ebpf::{
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::generated::bpf_skb_load_bytes_relative,
};
use chaos_common::abi::{Direction, FAMILY_V4, FAMILY_V6, Protocol};

const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86DD;

const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_ICMP: u8 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const IPPROTO_ROUTING: u8 = 43;
const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_ICMPV6: u8 = 58;
const IPPROTO_DSTOPTS: u8 = 60;

/// IPv6 extension headers that are walked; a packet with more of them has no ports for us.
const MAX_EXTENSIONS: usize = 6;

/// A packet as a rule sees it. Addresses are in network byte order, IPv4 in the first four bytes;
/// ports are in host byte order.
pub struct Packet {
    pub family: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether the ports are known: TCP or UDP, and not a later fragment.
    pub has_ports: bool,
    pub local_port: u16,
    pub remote_port: u16,
    pub local: [u8; 16],
    pub remote: [u8; 16],
}

impl Packet {
    /// The bit of `NetRule::protocols`, or 0.
    #[inline(always)]
    pub fn protocol_bit(&self) -> u32 {
        match self.protocol {
            IPPROTO_TCP => Protocol::Tcp as u32,
            IPPROTO_UDP => Protocol::Udp as u32,
            IPPROTO_ICMP | IPPROTO_ICMPV6 => Protocol::Icmp as u32,
            _ => 0,
        }
    }

    /// Reads the headers. `None` for what is not IP or is cut short.
    #[inline(always)]
    pub fn read(skb: *mut __sk_buff, direction: Direction) -> Option<Self> {
        // SAFETY: the context is valid while the program runs; this field is readable in both hooks.
        let ethertype = u16::from_be(unsafe { (*skb).protocol } as u16);
        match ethertype {
            ETH_P_IP => Self::read_v4(skb, direction),
            ETH_P_IPV6 => Self::read_v6(skb, direction),
            _ => None,
        }
    }

    #[inline(always)]
    fn read_v4(skb: *mut __sk_buff, direction: Direction) -> Option<Self> {
        let header: [u8; 20] = load(skb, 0)?;
        let mut source = [0; 16];
        let mut destination = [0; 16];
        source[..4].copy_from_slice(&header[12..16]);
        destination[..4].copy_from_slice(&header[16..20]);
        let later_fragment = (header[6] & 0x1f) | header[7] != 0;
        let at = u32::from(header[0] & 0x0f) * 4;
        let transport = if later_fragment { None } else { Some(at) };
        Some(Self::new(skb, direction, FAMILY_V4, header[9], transport, source, destination))
    }

    #[inline(always)]
    fn read_v6(skb: *mut __sk_buff, direction: Direction) -> Option<Self> {
        let header: [u8; 40] = load(skb, 0)?;
        let mut source = [0; 16];
        let mut destination = [0; 16];
        source.copy_from_slice(&header[8..24]);
        destination.copy_from_slice(&header[24..40]);
        let mut protocol = header[6];
        let mut at = 40;
        let mut later_fragment = false;
        for _ in 0..MAX_EXTENSIONS {
            let length = match protocol {
                IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_DSTOPTS | IPPROTO_AH
                | IPPROTO_FRAGMENT => {
                    let extension: [u8; 4] = load(skb, at)?;
                    let length = match protocol {
                        IPPROTO_AH => (u32::from(extension[1]) + 2) * 4,
                        IPPROTO_FRAGMENT => {
                            later_fragment |= extension[2] | (extension[3] & 0xf8) != 0;
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
        let transport = if later_fragment { None } else { Some(at) };
        Some(Self::new(skb, direction, FAMILY_V6, protocol, transport, source, destination))
    }

    #[inline(always)]
    fn new(
        skb: *mut __sk_buff,
        direction: Direction,
        family: u32,
        protocol: u8,
        transport: Option<u32>,
        source: [u8; 16],
        destination: [u8; 16],
    ) -> Self {
        let ports: Option<[u8; 4]> = match (protocol, transport) {
            (IPPROTO_TCP | IPPROTO_UDP, Some(at)) => load(skb, at),
            _ => None,
        };
        let (source_port, destination_port) = match ports {
            Some([a, b, c, d]) => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            None => (0, 0),
        };
        let has_ports = ports.is_some();
        match direction {
            Direction::Out => Self {
                family,
                protocol,
                has_ports,
                local_port: source_port,
                remote_port: destination_port,
                local: source,
                remote: destination,
            },
            Direction::In => Self {
                family,
                protocol,
                has_ports,
                local_port: destination_port,
                remote_port: source_port,
                local: destination,
                remote: source,
            },
        }
    }
}

/// Copies bytes from behind the start of the network header.
#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the helper writes `N` bytes or fails; the destination has `N`.
    let status = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast(),
            at,
            bytes.as_mut_ptr().cast(),
            N as u32,
            BPF_HDR_START_NET,
        )
    };
    (status == 0).then_some(bytes)
}
