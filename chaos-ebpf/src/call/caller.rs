//! Who calls.

use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_get_current_task};

use super::layout::offset;
use crate::memory::read;

/// The id of the ancestor at a level of its cgroup, where the kernel has no function that tells.
#[inline(always)]
pub(super) fn ancestor(level: u32) -> Option<u64> {
    let groups = read::<u64>(task(), offset!(task_cgroups))?;
    let cgroup = read::<u64>(groups, offset!(css_set_dfl_cgrp))?;
    if level > read::<u32>(cgroup, offset!(cgroup_level))? {
        return None;
    }
    let at = level * size_of::<u64>() as u32;
    if offset!(cgroup_ancestors) == 0 {
        return read(cgroup, offset!(cgroup_ancestor_ids) + at);
    }
    let ancestor = read::<u64>(cgroup, offset!(cgroup_ancestors) + at)?;
    read(read::<u64>(ancestor, offset!(cgroup_kn))?, offset!(kn_id))
}

/// The running task.
#[inline(always)]
pub(super) fn task() -> u64 {
    // SAFETY: takes no arguments.
    unsafe { bpf_get_current_task() }
}

/// Whether the running thread has a name. The helper puts zeroes behind it.
#[inline(always)]
pub(super) fn has_comm(wanted: &[u8; 16]) -> bool {
    let mut comm = [0u8; 16];
    // SAFETY: the helper writes as many bytes as it is told.
    let status = unsafe { bpf_get_current_comm((&raw mut comm).cast(), comm.len() as u32) };
    status == 0 && u128::from_ne_bytes(comm) == u128::from_ne_bytes(*wanted)
}

/// How the running thread's name begins: seven bytes, and zeroes behind its end.
#[inline(always)]
pub(super) fn comm_start() -> Option<u64> {
    let mut start = 0_u64;
    // SAFETY: as above. It cuts what is longer, and ends it with a zero.
    let status = unsafe { bpf_get_current_comm((&raw mut start).cast(), size_of::<u64>() as u32) };
    (status == 0).then_some(start)
}

/// The file of the program that runs; 0 in a thread of the kernel.
#[inline(always)]
pub(super) fn program() -> u64 {
    let memory = read::<u64>(task(), offset!(task_mm)).filter(|memory| *memory != 0);
    memory.and_then(|memory| read(memory, offset!(mm_exe))).unwrap_or(0)
}

/// Where the memory ends that the running process has by `brk`.
#[inline(always)]
pub(super) fn end_of_memory() -> Option<u64> {
    let memory = read::<u64>(task(), offset!(task_mm)).filter(|memory| *memory != 0)?;
    read(memory, offset!(mm_brk))
}
