//! A call that connects, binds, or sends to an address, as the kernel shows it to programs on cgroups.

use aya_ebpf::bindings::bpf_sock_addr;
use chaos_common::abi::{FAMILY_V4, FAMILY_V6, Operation};

use super::kernel::LAYOUT;
use crate::memory::{self, number};

/// It may go on.
pub(super) const ALLOWED: i32 = 1;

/// One call, as global functions take it: in numbers.
#[derive(Clone, Copy)]
pub struct Call {
    /// The port, then the protocol, in 16 bits each; then the family, which [`Operation`] it is, and 1 if a socket at
    /// all of IPv6 takes IPv4 too, in 8 bits each.
    pub(super) what: u64,
    /// In network byte order, in memory. Of what binds its own, else of the other end, and so is the port.
    pub(super) address: [u64; 2],
}

impl Call {
    #[inline(always)]
    pub(super) fn of<const FAMILY: u32, const OPERATION: u32>(
        context: *const bpf_sock_addr,
    ) -> Self {
        let (protocol, port, words) = read(context, FAMILY);
        let (family, words) = if FAMILY == FAMILY_V6 && is_mapped(&words) {
            (FAMILY_V4, [words[3], 0, 0, 0])
        } else {
            (FAMILY, words)
        };
        let takes_v4 = OPERATION == Operation::Bind as u32
            && family == FAMILY_V6
            && words == [0; 4]
            && takes_v4(context);
        let what = u64::from(port)
            | u64::from(protocol & 0xffff) << 16
            | u64::from(family) << 32
            | u64::from(OPERATION) << 40
            | u64::from(takes_v4) << 48;
        Self { what, address: [join(words[0], words[1]), join(words[2], words[3])] }
    }

    #[inline(always)]
    pub(super) const fn port(self) -> u16 {
        self.what as u16
    }

    #[inline(always)]
    pub(super) const fn protocol(self) -> u32 {
        (self.what >> 16) as u32 & 0xffff
    }

    #[inline(always)]
    pub(super) const fn family(self) -> u32 {
        (self.what >> 32) as u32 & 0xff
    }

    #[inline(always)]
    pub(super) const fn operation(self) -> u32 {
        (self.what >> 40) as u32 & 0xff
    }

    #[inline(always)]
    pub(super) const fn binds(self) -> bool {
        self.operation() == Operation::Bind as u32
    }

    #[inline(always)]
    pub(super) const fn takes_v4(self) -> bool {
        self.what >> 48 != 0
    }

    /// The address as rules and events have it.
    #[inline(always)]
    pub(super) fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.address[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&self.address[1].to_ne_bytes());
        bytes
    }
}

/// Protocol, port, and the address in as many words as it has. Of the two the verifier lets a program read only the
/// address of its own family.
#[inline(always)]
pub(super) fn read(address: *const bpf_sock_addr, family: u32) -> (u32, u16, [u32; 4]) {
    // SAFETY: the context is valid while the program runs. Volatile, since it may be read in words only.
    unsafe {
        let protocol = (&raw const (*address).protocol).read_volatile();
        let port = (&raw const (*address).user_port).read_volatile();
        let words = if family == FAMILY_V4 {
            [(&raw const (*address).user_ip4).read_volatile(), 0, 0, 0]
        } else {
            let word = |at: usize| (&raw const (*address).user_ip6[at]).read_volatile();
            [word(0), word(1), word(2), word(3)]
        };
        (protocol, u16::from_be(port as u16), words)
    }
}

/// Whether an IPv6 address stands for one of IPv4 (RFC 4291, 2.5.5.2).
#[inline(always)]
pub(super) const fn is_mapped(words: &[u32; 4]) -> bool {
    words[0] == 0 && words[1] == 0 && words[2] == 0xffff_u32.to_be()
}

/// Whether a socket that would be bound to all of IPv6 would take IPv4 as well; false while no rule needs to know.
#[inline(always)]
fn takes_v4(context: *const bpf_sock_addr) -> bool {
    let Some(bit) = LAYOUT.get(0).map(|layout| layout.sock_v6only).filter(|bit| *bit != 0) else {
        return false;
    };
    // SAFETY: the context is valid while the program runs.
    let socket = unsafe { (&raw const (*context).__bindgen_anon_1.sk).read_volatile() };
    let Some(address) = number(socket) else { return false };
    // `sock_common` is what every socket begins with.
    memory::read::<u8>(address, bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 0)
}

/// Two words behind each other.
#[inline(always)]
pub(super) fn join(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
