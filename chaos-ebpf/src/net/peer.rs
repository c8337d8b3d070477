//! Who is at the other end of a packet that does not leave the network namespace: the cgroup of its socket.
//!
//! Whatever stays there passes the loopback, also what is sent to an address of another interface. Elsewhere nobody
//! is looked for: a socket that takes what is sent to any address would be found for hosts far away.

use aya_ebpf::{EbpfContext, bindings::__sk_buff};

use super::{
    hook::Hook,
    hop,
    socket::{End, Owner},
    tables::PACKET,
};
use crate::packet::Skb;

/// Notes it with the packet that was read for a hook.
#[inline(always)]
pub fn find(ctx: &impl EbpfContext, hook: Hook) {
    net_peer(ctx.as_ptr().cast(), hook as u32);
}

/// 1 if there is somebody. A global function: see [`judge`](super::judge).
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_peer(skb: *mut __sk_buff, hook: u32) -> u32 {
    let Some(packet) = PACKET.get_ptr_mut(hook) else { return 0 };
    // SAFETY: nothing else on this CPU uses this entry while the program runs.
    let packet = unsafe { &mut *packet };
    (packet.peer, packet.knows_peer) = (0, 1);
    // SAFETY: called with the context of the program that runs.
    if !hop::is_loopback(unsafe { Skb::new(skb) }) {
        return 0;
    }
    let Some(owner) = Owner::of(skb, Hook::of(hook), End::Remote) else { return 0 };
    (packet.peer, packet.peer_level) = (owner.cgroup, owner.level);
    1
}
