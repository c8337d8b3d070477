//! Counting that hands out each number once.
//!
//! BPF's atomic add with a result came with Linux 5.12. Programs are therefore made twice, once for
//! each [`Counter`], and the daemon loads the better one that the kernel takes.

/// A way of taking the next number.
pub trait Counter {
    /// Adds one and returns what was there before.
    ///
    /// # Safety
    /// `number` points to an aligned `u64` inside a map value.
    unsafe fn take(number: *mut u64) -> u64;

    /// Takes one off again.
    ///
    /// # Safety
    /// As above.
    unsafe fn give_back(number: *mut u64);
}

/// Exact on any number of CPUs.
pub struct Exact;

/// For kernels before 5.12: no count is lost, but two CPUs that count in the same moment may get the
/// same number.
pub struct Close;

#[cfg(target_arch = "bpf")]
mod bpf {
    use core::arch::asm;

    use super::{Close, Counter, Exact};

    #[inline(always)]
    unsafe fn subtract_one(number: *mut u64) {
        // SAFETY: the caller vouches for the pointer; the instruction touches nothing else.
        unsafe {
            asm!("lock *(u64 *)({p} + 0) += {v}", p = in(reg) number, v = in(reg) -1i64);
        }
    }

    impl Counter for Exact {
        #[inline(always)]
        unsafe fn give_back(number: *mut u64) {
            // SAFETY: the caller vouches for the pointer.
            unsafe { subtract_one(number) }
        }

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
        unsafe fn give_back(number: *mut u64) {
            // SAFETY: the caller vouches for the pointer.
            unsafe { subtract_one(number) }
        }

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
