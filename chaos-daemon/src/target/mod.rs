//! Owns finding the cgroup behind a target, and what is in it.
//!
//! cgroup v2 only. Everything here reads; nothing is created, moved or removed. A cgroup that disappears
//! while it is looked at is treated as one that was never there.

mod error;
mod identity;
mod list;
mod membership;
mod namespaces;
mod processes;
mod resolve;
mod root;
mod sockets;
#[cfg(test)]
mod testing;
mod walk;

pub use error::TargetError;
pub use identity::{Identity, Runtime, identify};
pub use list::{TargetInfo, list, list_below};
pub use membership::of_process;
pub(crate) use namespaces::of_pids as namespaces_of;
pub use namespaces::{NetNsRef, all_network_namespaces, network_namespaces};
pub use processes::{pids, pids_below};
pub use resolve::resolve;
pub(crate) use resolve::{ancestors, is_below};
pub(crate) use root::normal;
pub use root::{Cgroup, CgroupRoot, Extent};
pub use sockets::{BoundSocket, SocketCount, SocketSurvey, bound_sockets, process_of_socket};
pub(crate) use sockets::{each_socket, made_in};
pub(crate) use walk::walk;
