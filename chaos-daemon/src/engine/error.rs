//! What the engine refuses or fails to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use chaos_common::{invalid::Invalid, spec::InjectionId};
use nix::errno::Errno;

use crate::{
    fault::Unsupported, kernel::KernelError, peer::PeerError, policy::Refusal, target::TargetError,
};

/// A request that was not carried out. Nothing of it is left on the node, but for
/// [`EngineError::HalfDone`].
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Another request has the id.
    #[error("there is or was another injection under the id {0}; choose another id")]
    IdTaken(InjectionId),
    /// A journal entry claims what another one has.
    #[error("injection {id} is said to have the rule of {other}")]
    RuleTaken {
        /// Which.
        id: InjectionId,
        /// Whose rule it is.
        other: InjectionId,
    },
    /// The id is not known.
    #[error("there is no injection {0}; `chaos ls --all` lists those that the daemon remembers")]
    Unknown(InjectionId),
    /// The injection is over.
    #[error("injection {id} is {state} and cannot be renewed; inject it again")]
    Over {
        /// Which.
        id: InjectionId,
        /// How it ended.
        state: &'static str,
    },
    /// The target was not found.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The node's policy says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node cannot do it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// Somebody whom the filter names was not found.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// They are more than a filter can hold.
    #[error(transparent)]
    TooManyOthers(#[from] Invalid),
    /// The journal could not be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Another injection has a port.
    #[error("{port} is held by injection {id} already; recover it first, or take another port")]
    PortHeld {
        /// Which.
        port: String,
        /// Whose it is.
        id: InjectionId,
    },
    /// It was not applied, and not undone either.
    #[error("injection {id}: {source}; {undo}")]
    HalfDone {
        /// Which.
        id: InjectionId,
        /// Why it was not applied.
        source: Box<EngineError>,
        /// What became of the undo.
        undo: String,
    },
    /// The daemon is going down.
    #[error("the daemon is shutting down; try again when it is back")]
    ShuttingDown,
}

/// The engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No usable cgroup tree.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The cgroup tree begins somewhere in the middle.
    #[error(
        "{path} shows only a part of the host's cgroup tree, as in a cgroup namespace, and the kernel counts \
         depths from the top; run in the host's cgroup namespace (in a container: `--cgroupns=host`)",
        path = .0.display()
    )]
    PartOfTree(PathBuf),
    /// Something else that every machine has is missing.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// The state directory failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// One operation on one path.
    #[error("{what} {path}: {source}{advice}", path = path.display(), advice = advice(source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Somebody else has it.
    #[error("another chaos-daemon uses the state directory {dir}; stop it, or name another directory with --state-dir", dir = dir.display())]
    InUse {
        /// Which directory.
        dir: PathBuf,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOSPC | Errno::EDQUOT) => {
            "; free some space, or name another directory with --state-dir"
        }
        Some(Errno::EROFS | Errno::EACCES | Errno::EPERM) => {
            "; make it writable, or name another directory with --state-dir"
        }
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::EEXIST) => {
            "; see that the directory can be made, or name another with --state-dir"
        }
        Some(_) | None => "",
    }
}

impl StorageError {
    pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}
