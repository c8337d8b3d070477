//! What all faults of names have in common: which questions, to which name servers.

mod addresses;
mod code;
mod questions;
mod tcp;
mod written;

pub use addresses::Addresses;
pub use code::DnsCode;
pub use questions::Questions;
pub(super) use questions::{at, name_servers, texts};
pub use tcp::DnsTcp;
pub(super) use written::written;
