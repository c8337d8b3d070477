//! The sums that IP, its transports and ICMP check packets by: RFC 1071.

/// The sum of the two addresses of an IPv6 header.
#[inline(always)]
pub(super) fn addresses(header: &[u32; 10]) -> u64 {
    sum(header) - u64::from(header[0]) - u64::from(header[1])
}

#[inline(always)]
pub(super) fn protocol_and_length(protocol: u8, length: u32) -> u64 {
    let [high, low] = (length as u16).to_be_bytes();
    u64::from(u32::from_ne_bytes([0, protocol, high, low]))
}

/// The sum of RFC 1071, not yet folded; in whatever order the bytes are.
#[inline(always)]
pub(super) fn sum<const N: usize>(words: &[u32; N]) -> u64 {
    let mut sum = 0;
    for word in words {
        sum += u64::from(*word);
    }
    sum
}

/// The sum of what begins at a place, by that of the same bytes at an even one.
#[inline(always)]
pub(super) fn placed(sum: u64, at: u32) -> u64 {
    let sum = fold(sum);
    u64::from(if at.is_multiple_of(2) { sum } else { sum.swap_bytes() })
}

#[inline(always)]
pub(super) fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
