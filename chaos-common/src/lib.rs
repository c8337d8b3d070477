//! What every part agrees on.
//!
//! * [`abi`]: the records that eBPF programs and the daemon share (`no_std`);
//! * `fault`, `target`, `spec`: what a person or a program asks for, validated on the way in;
//! * `yaml`: files of them;
//! * `injection`: what the daemon answers with;
//! * `proto`, `wire`: the same things on the wire, and the conversion between the two.
//!
//! The `user` feature turns on everything but [`abi`].
#![cfg_attr(not(feature = "user"), no_std)]
#![cfg_attr(not(feature = "user"), forbid(unsafe_code))]

pub mod abi;

#[cfg(feature = "user")]
pub mod fault;
#[cfg(feature = "user")]
pub mod injection;
#[cfg(feature = "user")]
pub mod invalid;
#[cfg(feature = "user")]
pub mod proto;
#[cfg(feature = "user")]
pub mod spec;
#[cfg(feature = "user")]
pub mod target;
#[cfg(feature = "user")]
pub mod value;
#[cfg(feature = "user")]
pub mod wire;
#[cfg(feature = "user")]
pub mod yaml;
