//! System calls, where they begin.

use aya_ebpf::EbpfContext;
use chaos_common::abi::Abi;

use super::{
    What,
    arguments::{Arguments, First},
    condition::Call,
    generation::Kernel,
    judge::{self, Judge},
    prefilter,
    tables::CALL_BODIES,
};
use crate::{
    memory::number,
    target::{self, Answer},
};

/// Whether a system call may be one that a rule is about: what costs little is asked first. `registers` points to what
/// the kernel keeps of whoever made it.
///
/// # Safety
/// The verifier knows the pointer as one to a `struct pt_regs`.
#[inline(always)]
pub unsafe fn may_fail<K: Kernel, const IS_COMPAT: bool>(registers: *const u8) -> bool {
    let ask = |cgroup| {
        let is_out = prefilter::leaves_out(cgroup, |filter| {
            // SAFETY: as above.
            let call = unsafe { First::follow(registers, IS_COMPAT) };
            call.is_some_and(|call| {
                prefilter::admits_syscall(filter, call.signature, |at| call.argument(at))
            })
        });
        if is_out { Answer::Passed as u32 } else { Answer::Fired as u32 }
    };
    target::any_rule(|level| K::ancestor(level), || true, || (), ask) == Answer::Fired
}

/// What a system call fails with, or 0.
#[inline(always)]
pub fn errno<K: Judge, const IS_COMPAT: bool>(registers: *const u8) -> u32 {
    judge::errno::<K>(|_| false, || find(number(registers)?, IS_COMPAT))
}

/// The same without an entrance before it.
#[inline(always)]
pub fn errno_at_once<K: Judge, const IS_COMPAT: bool>(registers: *const u8) -> u32 {
    let admits = |filter: &_| {
        let arguments = number(registers).map(|registers| Arguments::new(registers, IS_COMPAT));
        let call = arguments.and_then(|arguments| Some((arguments, arguments.signature()?)));
        call.is_some_and(|(arguments, signature)| {
            prefilter::admits_syscall(filter, signature, |at| arguments.get(at))
        })
    };
    let leaves_out = |cgroup| prefilter::leaves_out(cgroup, admits);
    judge::errno::<K>(leaves_out, || find(number(registers)?, IS_COMPAT))
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
