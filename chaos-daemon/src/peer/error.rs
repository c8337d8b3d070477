//! Why addresses were not found.

use std::io;

use chaos_common::{
    target::{CgroupPath, Target},
    value::HostName,
};

use crate::target::TargetError;

/// Somebody whom a filter names has no address that could be found.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Names are looked up as a process of the target would.
    #[error(
        "no process is in {0}, and names are looked up as one of the target would; start it first, or give addresses"
    )]
    NobodyAsks(CgroupPath),
    /// How a peer is told from others depends on where the target is.
    #[error(
        "no process is in {0}, so it is not known in which network namespace it meets its peers; start it first, or give addresses"
    )]
    NobodyMeets(CgroupPath),
    /// A name has no address.
    #[error("{host} has no address for the target: {reason} (asked {asked})")]
    Host {
        /// Which.
        host: HostName,
        /// Why not.
        reason: String,
        /// Who was asked.
        asked: String,
    },
    /// A file of the target that says how names are looked up.
    #[error("{file} of the target: {source}")]
    File {
        /// Which.
        file: &'static str,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The peer was not found.
    #[error("peer {peer}: {source}")]
    Peer {
        /// Which.
        peer: Target,
        /// Why not.
        source: TargetError,
    },
    /// The peer has no process, hence no addresses.
    #[error("peer {0} has no process, hence no address; start it first")]
    Empty(Target),
    /// The peer has nothing but a loopback.
    #[error("peer {0} has no address but that of its loopback, which the target cannot reach")]
    Unreachable(Target),
    /// The kernel did not answer.
    #[error("{what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The target could not be looked at.
    #[error(transparent)]
    Target(#[from] TargetError),
}

impl PeerError {
    pub(super) fn kernel(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Kernel { what, source }
    }
}
