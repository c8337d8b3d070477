//! Reading the kernel's own structures, at offsets that the daemon looked up.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_get_current_task, macros::map, maps::Array};
use chaos_common::abi::{INTERFACE_NAME, Layout};

use crate::memory::{number, read};

/// One entry; all zero until somebody needs it.
#[map]
pub static LAYOUT: Array<Layout> = Array::with_max_entries(1, 0);

/// The process that runs now, or 0. `bpf_get_current_pid_tgid` came to tc with Linux 6.10 only.
#[inline(always)]
pub fn current_process() -> u32 {
    let Some(offset) = LAYOUT.get(0).map(|layout| layout.task_tgid).filter(|offset| *offset != 0)
    else {
        return 0;
    };
    // SAFETY: takes no arguments.
    let task = unsafe { bpf_get_current_task() };
    read::<u32>(task, offset).unwrap_or(0)
}

/// The name of the device that a packet is on; zeroes if no rule asks for it.
#[inline(always)]
pub fn interface(skb: *const c_void) -> [u8; INTERFACE_NAME] {
    let nothing = [0; INTERFACE_NAME];
    let Some(layout) = LAYOUT.get(0).filter(|layout| layout.skb_dev != 0) else { return nothing };
    let Some(device) = device(skb, layout) else { return nothing };
    read(device, layout.device_name).unwrap_or(nothing)
}

/// How many bytes wait in the qdisc of the device that a packet is on; 0 if nobody looked up where that is told.
#[inline(always)]
pub fn backlog(skb: *const c_void) -> u32 {
    let Some(layout) = LAYOUT.get(0).filter(|layout| layout.skb_dev != 0) else { return 0 };
    let qdisc = device(skb, layout).and_then(|device| read::<u64>(device, layout.device_qdisc));
    qdisc.and_then(|qdisc| read(qdisc, layout.qdisc_backlog)).unwrap_or(0)
}

/// Whether a packet is of a connection whose addresses are translated, or may be.
#[inline(always)]
pub fn is_translated(skb: *const c_void) -> bool {
    /// `IPS_SRC_NAT` and `IPS_DST_NAT`.
    const TRANSLATED: u64 = 1 << 4 | 1 << 5;
    /// What else the word says besides where the connection is.
    const STATE: u64 = 7;
    let Some(layout) = LAYOUT.get(0).filter(|layout| layout.skb_nfct != 0) else { return false };
    let connection = number(skb).and_then(|skb| read::<u64>(skb, layout.skb_nfct));
    let Some(connection) = connection.map(|word| word & !STATE).filter(|at| *at != 0) else {
        return false;
    };
    layout.conn_status == 0
        || read::<u64>(connection, layout.conn_status).is_none_or(|status| status & TRANSLATED != 0)
}

#[inline(always)]
fn device(skb: *const c_void, layout: &Layout) -> Option<u64> {
    read(number(skb)?, layout.skb_dev)
}
