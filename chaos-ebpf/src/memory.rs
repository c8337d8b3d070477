//! Reading memory that no pointer of a program's own leads to.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};

/// What a pointer is as a number. The verifier lets nobody calculate with some pointers: copied, it is a number itself.
#[inline(always)]
pub fn number<T>(pointer: *const T) -> Option<u64> {
    let holder = pointer;
    read::<u64>((&raw const holder) as u64, 0)
}

/// Copies a value from the kernel's memory, if that can be read.
#[inline(always)]
pub fn read<T: Copy + Zeroed>(address: u64, offset: u32) -> Option<T> {
    let mut value = T::ZERO;
    // SAFETY: the helper writes as many bytes as the value has, or fails; it never faults.
    let status = unsafe {
        let from = (address + u64::from(offset)) as *const c_void;
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from)
    };
    (status == 0).then_some(value)
}

/// A member of what a pointer leads to, so many bytes from its beginning: one step, where [`read`] takes dozens. It is
/// zero where it cannot be read.
///
/// # Safety
/// The verifier knows the pointer as one to a structure of the kernel's, and there is such a member.
#[inline(always)]
pub unsafe fn follow<T: Copy>(pointer: *const u8, offset: u32) -> T {
    // SAFETY: as above; the kernel catches what leads nowhere. Volatile, so that the offset is not part of another sum.
    unsafe { pointer.add(offset as usize).cast::<T>().read_volatile() }
}

/// What may have any bytes.
pub trait Zeroed {
    /// All of them zero.
    const ZERO: Self;
}

macro_rules! zeroed {
    ($($number:ty),*) => {$(
        impl Zeroed for $number {
            const ZERO: Self = 0;
        }
    )*};
}

zeroed!(u8, u16, u32, u64);

impl<const N: usize> Zeroed for [u8; N] {
    const ZERO: Self = [0; N];
}

/// The same of the running process's memory; `None` also where that would have to be fetched first.
#[inline(always)]
pub fn read_user<T: Copy + Zeroed>(address: u64) -> Option<T> {
    let mut value = T::ZERO;
    // SAFETY: the helper writes as many bytes as the value has, or fails; it never faults.
    let status = unsafe {
        bpf_probe_read_user(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            address as *const c_void,
        )
    };
    (status == 0).then_some(value)
}
