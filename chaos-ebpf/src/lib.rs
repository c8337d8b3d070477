//! What every engine shares in the kernel: who is a target, the gate, counting.
//!
//! One engine is one ELF object (`src/bin/<engine>.rs`). Its programs find the rules of a packet or
//! call through [`target`], match them against the engine's own filters and ask the [`gate`]. What an engine
//! has besides its programs is in a module of its name.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(
    feature = "net",
    expect(missing_docs, reason = "the `map` macro makes undocumented statics")
)]

#[cfg(feature = "call")]
pub mod call;
pub mod counter;
pub mod gate;
pub mod memory;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "net")]
pub mod packet;
pub mod ports;
pub mod protocol;
pub mod target;

/// Ends a program that cannot go on; the verifier proves that it never happens.
#[cfg(all(target_arch = "bpf", not(test)))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
