//! What differs between kernels: of each program there is one for new ones and one for old ones.

use aya_ebpf::helpers::generated::{bpf_get_current_ancestor_cgroup_id, bpf_get_current_task_btf};

use super::caller;
use crate::counter::{Close, Exact, Interrupted};

/// What a kernel offers to programs.
pub trait Kernel {
    /// How events are counted.
    type Counter: crate::counter::Counter;

    /// The id of the ancestor at a level of the running task's cgroup, or 0.
    fn ancestor(level: u32) -> u64;

    /// The running task, to be followed.
    fn task() -> Option<*const u8>;
}

/// One that tells of ancestors, and counts (Linux 5.18).
pub struct New;

/// One where both has to be made do without.
pub struct Old;

impl Kernel for New {
    type Counter = Interrupted<Exact>;

    #[inline(always)]
    fn ancestor(level: u32) -> u64 {
        // SAFETY: takes a number, and returns 0 where there is no such ancestor.
        unsafe { bpf_get_current_ancestor_cgroup_id(level as i32) }
    }

    #[inline(always)]
    fn task() -> Option<*const u8> {
        // SAFETY: takes no arguments.
        Some(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
    }
}

impl Kernel for Old {
    type Counter = Interrupted<Close>;

    #[inline(always)]
    fn ancestor(level: u32) -> u64 {
        caller::ancestor(level).unwrap_or(0)
    }

    #[inline(always)]
    fn task() -> Option<*const u8> {
        None
    }
}
