//! Counting that hands out each number once.
//!
//! BPF's atomic add with a result came with Linux 5.12. Programs are therefore made twice, once for
//! each [`Counter`], and the daemon loads the better one that the kernel takes.

use core::marker::PhantomData;

/// A way of counting.
pub trait Counter {
    /// Adds one to what only this CPU counts.
    ///
    /// # Safety
    /// `number` points to an aligned `u64` inside a map value.
    #[inline(always)]
    unsafe fn count(number: *mut u64) {
        // SAFETY: the caller vouches for the pointer.
        unsafe { *number += 1 }
    }

    /// Adds one and returns what was there before.
    ///
    /// # Safety
    /// `number` points to an aligned `u64` inside a map value.
    unsafe fn take(number: *mut u64) -> u64;
}

/// Exact on any number of CPUs.
pub struct Exact;

/// For kernels before 5.12: no count is lost, but two CPUs that count in the same moment may get the
/// same number.
pub struct Close;

/// The same for programs that others on their CPU may interrupt, who count too.
pub struct Interrupted<C>(PhantomData<C>);

#[cfg(target_arch = "bpf")]
mod bpf {
    use core::arch::asm;

    use super::{Close, Counter, Exact, Interrupted};

    impl<C: Counter> Counter for Interrupted<C> {
        #[inline(always)]
        unsafe fn count(number: *mut u64) {
            // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
            unsafe {
                asm!("lock *(u64 *)({p} + 0) += {v}", p = in(reg) number, v = in(reg) 1u64);
            }
        }

        #[inline(always)]
        unsafe fn take(number: *mut u64) -> u64 {
            // SAFETY: as above.
            unsafe { C::take(number) }
        }
    }

    impl Counter for Exact {
        #[inline(always)]
        unsafe fn take(number: *mut u64) -> u64 {
            let mut value = 1u64;
            // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
            unsafe {
                asm!("{v} = atomic_fetch_add((u64 *)({p} + 0), {v})", p = in(reg) number, v = inout(reg) value);
            }
            value
        }
    }

    impl Counter for Close {
        #[inline(always)]
        unsafe fn take(number: *mut u64) -> u64 {
            // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
            unsafe {
                asm!("lock *(u64 *)({p} + 0) += {v}", p = in(reg) number, v = in(reg) 1u64);
                number.read_volatile().wrapping_sub(1)
            }
        }
    }
}
