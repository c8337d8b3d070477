//! The arguments of a system call, where the kernel keeps the registers of whoever made it.

use chaos_common::abi::{Abi, MAX_CALLS, NO_ARGUMENT, SIZE_OF_BREAK, Signature};

use super::{caller, tables::SIGNATURES};
use crate::memory::{follow, read, read_user};

/// Where `struct pt_regs` of x86-64 has the arguments of a 64-bit program: rdi, rsi, rdx, r10, r8, r9. Two more make a
/// number of which the verifier sees that it is within.
const NATIVE: [u32; 8] = [112, 104, 96, 56, 72, 64, 64, 64];
/// The same of a 32-bit program: ebx, ecx, edx, esi, edi, ebp.
const COMPAT: [u32; 8] = [40, 88, 96, 104, 112, 32, 32, 32];
/// The number of the call (`orig_ax`).
const NUMBER: u32 = 120;
/// What programs of the x32 kind add to it.
const X32: u64 = 0x4000_0000;

/// A system call that is about to begin.
#[derive(Clone, Copy)]
pub(super) struct Arguments {
    registers: u64,
    is_compat: bool,
    /// Addresses in memory have four bytes.
    has_short_words: bool,
}

impl Arguments {
    #[inline(always)]
    pub(super) fn new(registers: u64, is_compat: bool) -> Self {
        let is_x32 = read::<u64>(registers, NUMBER).is_some_and(|number| number & X32 != 0);
        Self { registers, is_compat, has_short_words: is_compat || is_x32 }
    }

    /// What is known of the call; `None` for one that nothing is known of.
    #[inline(always)]
    pub(super) fn signature(self) -> Option<&'static Signature> {
        signature(read(self.registers, NUMBER)?, self.is_compat)
    }

    /// An argument, counted from 0.
    #[inline(always)]
    pub(super) fn get(self, at: u8) -> Option<u64> {
        if at == NO_ARGUMENT {
            return None;
        }
        let at = at as usize & 7;
        if self.is_compat {
            read::<u32>(self.registers, COMPAT[at]).map(u64::from)
        } else {
            read(self.registers, NATIVE[at])
        }
    }

    /// How many bytes the call is about.
    #[inline(always)]
    pub(super) fn size(self, signature: &Signature) -> Option<u64> {
        if signature.size == SIZE_OF_BREAK {
            // How much further than it ends now; to ask where that is costs nothing.
            return self.get(0)?.checked_sub(caller::end_of_memory()?);
        }
        if signature.vector == NO_ARGUMENT {
            return self.get(signature.size);
        }
        let (at, count) = (self.get(signature.vector)?, self.get(signature.vector + 1)?);
        let size = call_total(at, count, u32::from(self.has_short_words));
        (size != UNREADABLE).then_some(size)
    }
}

/// What is known of the call with a number, as the kernel keeps that.
#[inline(always)]
fn signature(number: u64, is_compat: bool) -> Option<&'static Signature> {
    let number = number & !X32;
    let number = if is_compat { number & 0xffff_ffff } else { number };
    if number >= MAX_CALLS as u64 {
        return None;
    }
    let abi = if is_compat { Abi::Compat } else { Abi::Native };
    let at = abi as u32 * MAX_CALLS as u32 + number as u32;
    SIGNATURES.get(at).filter(|signature| signature.native != 0)
}

/// What an entrance knows of a system call: what is known of it, and its first three arguments.
pub(super) struct First {
    pub(super) signature: &'static Signature,
    registers: *const u8,
    is_compat: bool,
}

impl First {
    /// # Safety
    /// The verifier knows the pointer as one to a `struct pt_regs`.
    #[inline(always)]
    pub(super) unsafe fn follow(registers: *const u8, is_compat: bool) -> Option<Self> {
        // SAFETY: as above, and that is a member of it.
        let number = unsafe { follow(registers, NUMBER) };
        Some(Self { signature: signature(number, is_compat)?, registers, is_compat })
    }

    /// One of the arguments. All are loaded: the verifier follows a pointer by known steps only.
    #[inline(always)]
    pub(super) fn argument(&self, at: u8) -> Option<u64> {
        let places = if self.is_compat { COMPAT } else { NATIVE };
        let load = |at: usize| {
            // SAFETY: as `follow` demands, and these are members of it.
            let word: u64 = unsafe { follow(self.registers, places[at]) };
            if self.is_compat { word & 0xffff_ffff } else { word }
        };
        let all = [load(0), load(1), load(2)];
        match at {
            0 => Some(all[0]),
            1 => Some(all[1]),
            2 => Some(all[2]),
            _ => None,
        }
    }
}

/// What [`call_total`] says of buffers that cannot be read.
const UNREADABLE: u64 = u64::MAX;

/// The bytes of so many buffers. A global function: the verifier goes through all of its rounds once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_total(at: u64, count: u64, has_short_words: u32) -> u64 {
    /// `UIO_MAXIOV`, more than which fail.
    const MOST: u64 = 1024;
    // `struct iovec`: where, and how long. What differs is in numbers, since a branch in the loop doubles its states.
    let (step, length, shift) = if has_short_words != 0 { (8, 0, 32) } else { (16, 8, 0) };
    let mut size = 0_u64;
    for buffer in 0..MOST {
        if buffer >= count {
            break;
        }
        let Some(word) = read_user::<u64>(at + buffer * step + length) else { return UNREADABLE };
        size = size.wrapping_add(word >> shift);
    }
    size
}
