//! Changing packets: their length, and what they say.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC},
    helpers::generated::{
        bpf_skb_adjust_room, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
};

use crate::packet::{ETHERNET, absolute};

/// Cuts a packet to a length. Bundles of segments become one packet, and the sum that a device took over the whole
/// is forgotten: that takes a cut, so the packet is made one byte too long first.
#[inline(always)]
pub(super) fn resize(skb: *mut __sk_buff, length: u32) -> bool {
    net_resize(skb, length) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_resize(skb: *mut __sk_buff, length: u32) -> u32 {
    // SAFETY: the helpers take the context and numbers.
    let is_done = unsafe {
        bpf_skb_change_tail(skb, length + 1, 0) == 0 && bpf_skb_change_tail(skb, length, 0) == 0
    };
    u32::from(is_done)
}

/// Room between the link header and what is behind it.
#[inline(always)]
pub(super) fn make_room(skb: *mut __sk_buff, length: u32) -> bool {
    // SAFETY: the helper takes the context and numbers.
    unsafe { bpf_skb_adjust_room(skb, length as i32, BPF_ADJ_ROOM_MAC, 0) == 0 }
}

/// Swaps the addresses of a link header, if there is one.
#[inline(always)]
pub(super) fn swap_ends(skb: *mut __sk_buff, link: u32) -> bool {
    link < ETHERNET || net_swap(skb) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn net_swap(skb: *mut __sk_buff) -> u32 {
    let Some(old) = absolute::<12>(skb, 0) else { return 0 };
    let mut new = [0; 12];
    new[..6].copy_from_slice(&old[6..]);
    new[6..].copy_from_slice(&old[..6]);
    u32::from(store_bytes(skb, 0, &new))
}

#[inline(always)]
pub(super) fn store<const N: usize>(skb: *mut __sk_buff, at: u32, words: &[u32; N]) -> bool {
    // SAFETY: the helper reads as many bytes as the words have.
    unsafe { bpf_skb_store_bytes(skb, at, words.as_ptr().cast(), 4 * N as u32, 0) == 0 }
}

#[inline(always)]
pub(super) fn store_half(skb: *mut __sk_buff, at: u32, half: u16) -> bool {
    store_bytes(skb, at, &half.to_ne_bytes())
}

#[inline(always)]
pub(super) fn store_bytes<const N: usize>(skb: *mut __sk_buff, at: u32, bytes: &[u8; N]) -> bool {
    // SAFETY: as above.
    unsafe { bpf_skb_store_bytes(skb, at, bytes.as_ptr().cast(), N as u32, 0) == 0 }
}

#[inline(always)]
pub(super) fn load_words<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u32; N]> {
    let mut words = MaybeUninit::<[u32; N]>::uninit();
    // SAFETY: the helper writes `4 * N` bytes, zeroes if it fails; the destination has as many.
    unsafe {
        let status = bpf_skb_load_bytes(skb.cast(), at, words.as_mut_ptr().cast(), 4 * N as u32);
        (status == 0).then(|| words.assume_init())
    }
}
