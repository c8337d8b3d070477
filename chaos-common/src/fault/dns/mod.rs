//! What all faults of names have in common: which questions, to which name servers.

mod code;
mod questions;

pub use code::DnsCode;
pub use questions::Questions;
