//! System calls, where they begin.

use aya_ebpf::EbpfContext;
use chaos_common::abi::Abi;

use super::{
    What, arguments::Arguments, caller::Kernel, condition::Call, judge, tables::CALL_BODIES,
};
use crate::memory::number;

/// What a system call fails with, or 0. `registers` points to what the kernel keeps of whoever made it.
#[inline(always)]
pub fn errno<K: Kernel, const IS_COMPAT: bool>(registers: *const u8) -> u32 {
    judge::errno::<K>(|| find(number(registers)?, IS_COMPAT))
}

/// Goes on with a program that was loaded for another function with the same arguments; comes back if there is none.
#[inline(always)]
pub fn go_on(context: &impl EbpfContext, abi: Abi) {
    // SAFETY: the loader puts nothing there but programs for the same arguments, and nothing is left to be dropped.
    unsafe { CALL_BODIES.tail_call(context, abi as u32) }
}

#[inline(always)]
fn find(registers: u64, is_compat: bool) -> Option<Call> {
    let signature = Arguments::new(registers, is_compat).signature()?;
    let what = What::syscall(u32::from(signature.native - 1), is_compat);
    Some(Call { what, first: registers, second: 0, third: 0 })
}
