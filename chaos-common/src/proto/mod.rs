//! The wire: code generated from `proto/chaos/v1/chaos.proto` by `cargo xtask proto`.
#![expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated"
)]

#[rustfmt::skip]
#[path = "chaos.v1.rs"]
pub mod v1;

/// The interface's description, as the reflection service hands it out.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!("chaos.v1.bin");
