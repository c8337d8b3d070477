//! What every engine shares in the kernel: who is a target, the gate, counting.
//!
//! One engine is one ELF object (`src/bin/<engine>.rs`). Its programs find the rules of a packet or
//! call through [`target`], match them against the engine's own filters and ask the [`gate`]. What an engine
//! has besides its programs is in a module of its name.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(missing_docs, reason = "the `map` macro makes undocumented statics")]

pub mod counter;
pub mod gate;
pub mod net;
pub mod packet;
mod protocol;
pub mod target;

/// Ends a program that cannot go on; the verifier proves that it never happens.
#[cfg(all(target_arch = "bpf", not(test)))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
