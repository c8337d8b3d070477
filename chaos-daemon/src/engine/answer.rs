//! What the engine is asked for and what it answers, besides injections themselves.

use std::sync::Arc;

use chaos_common::{injection::Injection, spec::InjectionId, target::CgroupPath};

use crate::kernel;

/// Something that a watcher may want to know.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An injection changed its state, or was renewed.
    Changed(Arc<Injection>),
    /// A fault happened.
    Firing(Arc<Firing>),
}

/// One sampled firing of an injection's fault.
#[derive(Clone, Debug)]
pub struct Firing {
    /// Whose.
    pub id: InjectionId,
    /// What was hit.
    pub event: kernel::Event,
    /// The process that caused it, where it is known: its id and name.
    pub process: Option<(u32, String)>,
}

/// What an injection would do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The cgroup behind the target.
    pub cgroup: CgroupPath,
    /// The effects in order, for people.
    pub effects: Vec<String>,
}

/// What became of everything.
#[derive(Clone, Debug)]
pub struct AllRecovered {
    /// All that were live, as they are now.
    pub injections: Vec<Injection>,
    /// Why something in the kernel that no injection speaks for could not be removed.
    pub unswept: Vec<String>,
}

/// What becomes of live injections when the engine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// They end.
    Recover,
    /// They go on for the rest of the lease, for the next daemon to adopt.
    HandOver,
}

/// Which injections to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of which something may be on the node.
    Live,
    /// Also those that ended and are remembered.
    AlsoEnded,
}
