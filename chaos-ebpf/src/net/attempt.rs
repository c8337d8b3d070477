//! Attempts to connect, or to send without a connection: judged before there is a packet, and told how they failed.

use aya_ebpf::{
    bindings::{bpf_func_id::BPF_FUNC_set_retval, bpf_sock_addr},
    helpers::generated::bpf_get_current_ancestor_cgroup_id,
    programs::SockAddrContext,
};
use chaos_common::abi::{FAMILY_V4, FAMILY_V6};

use super::{
    hook::Hook,
    judge::{Fate, Judge, judge},
    tables::PACKET,
};

/// It may go on.
pub(super) const ALLOWED: i32 = 1;
/// It fails: with what `bpf_set_retval` said, or else with `EPERM`.
const REFUSED: i32 = 0;

/// The verdict on an attempt over one family, by a program that can say any errno (Linux 6.1).
#[inline(always)]
pub fn refuse<C: Judge, const FAMILY: u32, const CONNECTS: bool>(ctx: &SockAddrContext) -> i32 {
    let errno = errno::<C, FAMILY, CONNECTS>(ctx.sock_addr);
    if errno == 0 { ALLOWED } else { fail_with(errno) }
}

/// The verdict that makes an attempt fail with an errno.
#[inline(always)]
pub fn fail_with(errno: u32) -> i32 {
    /// The highest that there is.
    const MAX_ERRNO: u32 = 4095;
    // Newer kernels want to see that it is one, and look at all 64 bits of the number: so not by way of an `int`.
    let value = -i64::from(errno & MAX_ERRNO);
    // SAFETY: that is the number of the helper; it takes a number.
    unsafe {
        let set_retval: unsafe extern "C" fn(i64) -> i64 =
            core::mem::transmute(BPF_FUNC_set_retval as usize);
        set_retval(value);
    }
    REFUSED
}

/// The same by one that cannot.
#[inline(always)]
pub fn forbid<C: Judge, const FAMILY: u32, const CONNECTS: bool>(ctx: &SockAddrContext) -> i32 {
    if errno::<C, FAMILY, CONNECTS>(ctx.sock_addr) == 0 { ALLOWED } else { REFUSED }
}

/// How an attempt fails, or 0. The kernel asks for the cgroup of the socket; which of its ancestors are targets is
/// asked of the process, since nothing tells it of the socket.
///
/// Not inlined: the compiler would keep the verdict on the stack meanwhile, where the verifier forgets what it is.
#[inline(never)]
fn errno<C: Judge, const FAMILY: u32, const CONNECTS: bool>(address: *const bpf_sock_addr) -> u32 {
    let Some(packet) = PACKET.get_ptr_mut(Hook::Attempt as u32) else { return 0 };
    // SAFETY: points to a map value of this type that lives at least until the program ends.
    let users = unsafe { &raw mut (*packet).users };
    // A task may be preempted in here, as nobody is who judges packets. Whoever tries on the same CPU meanwhile goes on
    // unjudged. SAFETY: aligned, and inside a map value.
    if unsafe { C::take(users) } != 0 {
        // SAFETY: as above.
        unsafe { C::give_back(users) };
        return 0;
    }
    let errno = judged::<C, FAMILY, CONNECTS>(address);
    // SAFETY: as above.
    unsafe { C::give_back(users) };
    errno
}

#[inline(always)]
fn judged<C: Judge, const FAMILY: u32, const CONNECTS: bool>(address: *const bpf_sock_addr) -> u32 {
    // SAFETY: takes a number, and returns 0 where there is no such ancestor.
    let ancestor = |level: u32| unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) };
    let begin = || {
        let Some(packet) = PACKET.get_ptr_mut(Hook::Attempt as u32) else { return false };
        // SAFETY: nothing else on this CPU uses this entry: see above.
        let packet = unsafe { &mut *packet };
        let (protocol, port, words) = read(address, FAMILY);
        if FAMILY == FAMILY_V6 && is_mapped(&words) {
            packet.attempt((FAMILY_V4, protocol), [words[3], 0, 0, 0], port, CONNECTS);
        } else {
            packet.attempt((FAMILY, protocol), words, port, CONNECTS);
        }
        true
    };
    match judge::<C>(Hook::Attempt, ancestor, begin, || ()) {
        Fate::Lost => PACKET.get(Hook::Attempt as u32).map_or(0, |packet| packet.verdict.answer),
        Fate::Untouched | Fate::GoesOn => 0,
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
