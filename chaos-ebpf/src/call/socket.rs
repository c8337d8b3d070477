//! Which socket a call is about, and who is at its other end.

use aya_ebpf::maps::lpm_trie::Key;
use chaos_common::abi::{
    FAMILY_V4, FAMILY_V6, PREFIX_HEAD_BITS, PREFIX_INCLUDE, Prefix, Protocol, Remotes,
    SocketFamily, SocketFilter,
};

use super::{glob::Memory, layout::offset, tables::CALL_PREFIXES};
use crate::{
    memory::{Zeroed, read, read_user},
    ports::has_port,
    protocol::{IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP},
};

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// What a rule may ask of a socket.
#[derive(Clone, Copy)]
pub(super) struct Socket {
    family: u32,
    protocol: u32,
    /// [`FAMILY_V4`], [`FAMILY_V6`], or 0 where nothing is known of it.
    version: u32,
    address: [u8; 16],
    port: u16,
}

impl Socket {
    /// One that is about to be made.
    #[inline(always)]
    pub(super) const fn new(family: u32, protocol: u32) -> Self {
        Self { family, protocol, version: 0, address: [0; 16], port: 0 }
    }

    /// One that is there: a `struct socket`. `own_port` asks for its own port instead of the other end's.
    #[inline(always)]
    pub(super) fn open(socket: u64, own_port: bool) -> Option<Self> {
        let inner = read::<u64>(socket, offset!(socket_sk)).filter(|inner| *inner != 0)?;
        let family = u32::from(read::<u16>(inner, offset!(sock_family))?);
        // A whole word before Linux 5.6 only.
        let protocol = u32::from(read::<u16>(inner, offset!(sock_protocol))?);
        let mut this = Self::new(family, protocol);
        if family != AF_INET && family != AF_INET6 {
            return Some(this);
        }
        // `skc_dport` is in network byte order, and `skc_num` behind it is not.
        this.port = if own_port {
            read::<u16>(inner, offset!(sock_ports) + 2)?
        } else {
            u16::from_be(read(inner, offset!(sock_ports))?)
        };
        if family == AF_INET {
            this.set_v4(read(inner, offset!(sock_daddr))?);
        } else {
            this.set_v6(read(inner, offset!(sock_v6_daddr))?);
        }
        Some(this)
    }

    /// The same with the address and port that a call names.
    #[inline(always)]
    pub(super) fn named(mut self, address: u64, memory: Memory) -> Option<Self> {
        if address == 0 {
            return Some(self);
        }
        let family = get::<u16>(address, 0, memory)?;
        // `AF_UNSPEC` ends a connection.
        if u32::from(family) == AF_INET {
            self.port = u16::from_be(get(address, 2, memory)?);
            self.set_v4(get(address, 4, memory)?);
        } else if u32::from(family) == AF_INET6 {
            self.port = u16::from_be(get(address, 2, memory)?);
            self.set_v6(get(address, 8, memory)?);
        }
        Some(self)
    }

    #[inline(always)]
    fn set_v4(&mut self, address: u32) {
        self.version = FAMILY_V4;
        self.address = [0; 16];
        self.address[..4].copy_from_slice(&address.to_ne_bytes());
    }

    #[inline(always)]
    fn set_v6(&mut self, address: [u8; 16]) {
        let word = |at: usize| {
            u32::from_ne_bytes([address[at], address[at + 1], address[at + 2], address[at + 3]])
        };
        // RFC 4291, 2.5.5.2.
        if word(0) | word(4) == 0 && word(8) == 0xffff_u32.to_be() {
            self.set_v4(word(12));
        } else {
            self.version = FAMILY_V6;
            self.address = address;
        }
    }

    /// Whether a rule is about it.
    #[inline(always)]
    pub(super) fn fits(&self, rule: u32, filter: &SocketFilter) -> bool {
        (filter.families == 0 || filter.families & self.family_bit() != 0)
            && (filter.protocols == 0 || filter.protocols & self.protocol_bit() != 0)
            && has_port(&filter.ports, self.version != 0, self.port)
            && self.has_remote(rule, filter.remotes)
    }

    #[inline(always)]
    fn has_remote(&self, rule: u32, remotes: u32) -> bool {
        if remotes == Remotes::All as u32 {
            return true;
        }
        if self.version == 0 {
            return false;
        }
        let prefix = Prefix { rule, family: self.version, address: self.address };
        match CALL_PREFIXES.get(&Key::new(PREFIX_HEAD_BITS + 128, prefix)) {
            Some(verdict) => *verdict == PREFIX_INCLUDE,
            None => remotes == Remotes::AllBut as u32,
        }
    }

    #[inline(always)]
    const fn family_bit(&self) -> u32 {
        // A socket of IPv6 that speaks IPv4 counts as what it speaks.
        if self.version == FAMILY_V4 {
            return SocketFamily::V4 as u32;
        }
        match self.family {
            AF_INET => SocketFamily::V4 as u32,
            AF_INET6 => SocketFamily::V6 as u32,
            AF_UNIX => SocketFamily::Unix as u32,
            _ => SocketFamily::Other as u32,
        }
    }

    #[inline(always)]
    const fn protocol_bit(&self) -> u32 {
        if self.family != AF_INET && self.family != AF_INET6 {
            return 0;
        }
        match self.protocol as u8 {
            IPPROTO_TCP => Protocol::Tcp as u32,
            IPPROTO_UDP => Protocol::Udp as u32,
            IPPROTO_ICMP | IPPROTO_ICMPV6 => Protocol::Icmp as u32,
            _ => 0,
        }
    }
}

#[inline(always)]
fn get<T: Copy + Zeroed>(address: u64, offset: u32, memory: Memory) -> Option<T> {
    match memory {
        Memory::Kernel => read(address, offset),
        Memory::User => read_user(address + u64::from(offset)),
    }
}
