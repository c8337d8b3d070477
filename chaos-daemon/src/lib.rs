//! The node daemon as a library: `chaos-daemon` serves it over gRPC, `chaos exec` embeds it.
//!
//! ```text
//! grpc ──► engine ──► fault::plan ──► effect ──► kernel
//!            │ journal, lease, policy      │
//!            ◄── counters, events ─────────┘
//! ```
//!
//! Each module knows only those to its right. `target` finds cgroups for all of them.

mod abort;
pub mod args;
pub mod boot_clock;
pub mod daemon;
pub mod effect;
pub mod engine;
mod fail_point;
pub mod fault;
pub mod grpc;
pub mod kernel;
mod metrics;
mod netns;
mod notify;
pub mod peer;
pub mod policy;
pub mod target;

pub use kernel::holder_main;
