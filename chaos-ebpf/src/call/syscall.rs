//! System calls, where they begin.

use super::{What, arguments::Arguments, caller::Kernel, condition::Call, judge};
use crate::memory::number;

/// What a system call fails with, or 0. `registers` points to what the kernel keeps of whoever made it.
#[inline(always)]
pub fn errno<K: Kernel, const IS_COMPAT: bool>(registers: *const u8) -> u32 {
    judge::errno::<K>(|| find(number(registers)?, IS_COMPAT))
}

#[inline(always)]
fn find(registers: u64, is_compat: bool) -> Option<Call> {
    let signature = Arguments::new(registers, is_compat).signature()?;
    let what = What::syscall(u32::from(signature.native - 1), is_compat);
    Some(Call { what, first: registers, second: 0, third: 0 })
}
