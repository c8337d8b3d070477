//! Why an injection is not allowed on this node.

use std::{fmt, path::PathBuf};

use chaos_common::{target::CgroupPath, value::Lifetime};

/// Why an injection is not allowed on this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It would last too long.
    #[error(
        "{asked} is longer than this node allows; ask for at most {max} and renew it, or raise \
         `maxDuration` in {}", .file.display()
    )]
    TooLong {
        /// What was asked for.
        asked: Lifetime,
        /// What is allowed.
        max: Lifetime,
        /// The policy.
        file: PathBuf,
    },
    /// There are too many already.
    #[error(
        "{live} injections are live and this node allows {max}; recover some (`chaos ls` shows them), or \
         raise `maxInjections` in {}", .file.display()
    )]
    TooMany {
        /// How many there are.
        live: usize,
        /// What is allowed.
        max: u32,
        /// The policy.
        file: PathBuf,
    },
    /// Its target is protected, or has to do with something that is.
    #[error("{target} {relation}{protection}")]
    Protected {
        /// What was asked for.
        target: CgroupPath,
        /// What it has to do with the protected cgroup.
        relation: Relation,
        /// Why that one is protected, and what can be done.
        protection: Protection,
    },
}

/// How a target relates to a protected cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It is that cgroup.
    Is,
    /// It contains that cgroup.
    Contains(CgroupPath),
    /// It is below that cgroup.
    Below(CgroupPath),
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is => f.write_str("is "),
            Self::Contains(protected) => write!(f, "contains {protected}, which is "),
            Self::Below(protected) => write!(f, "is below {protected}, which is "),
        }
    }
}

/// Why a cgroup is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It is the root, with everything of the node in it.
    Root,
    /// The daemon is in it.
    Own,
    /// Process 1 is in it.
    Init,
    /// A glob of the policy matches it.
    Policy {
        /// The key that has the glob.
        key: &'static str,
        /// The glob.
        glob: String,
        /// The policy.
        file: PathBuf,
    },
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => {
                f.write_str("the root cgroup with the whole node in it; aim at a cgroup below it")
            }
            Self::Own => f.write_str("the cgroup of the chaos daemon itself; aim at another one"),
            Self::Init => f.write_str("the cgroup of process 1; aim at another one"),
            Self::Policy { key, glob, file } => write!(
                f,
                "protected by {glob} under `{key}` in {}; aim at another cgroup, or change the policy",
                file.display()
            ),
        }
    }
}
