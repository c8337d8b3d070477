//! Programs that do nothing, on the hooks of the others: the least that any program costs there.
#![no_std]
#![no_main]

// For its panic handler.
use chaos_ebpf as _;

use aya_ebpf::{
    macros::{cgroup_skb, classifier},
    programs::{SkBuffContext, TcContext},
};

/// Let the next program decide.
#[classifier]
fn empty_out(_ctx: TcContext) -> i32 {
    -1
}

/// The socket gets the packet.
#[cgroup_skb]
fn empty_in(_ctx: SkBuffContext) -> i32 {
    1
}

#[cfg(not(test))]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
