//! Calls on files that wait: the kernel asks a process of ours before they go on (fanotify), and that answers later.
//!
//! Which calls wait, and how long, is said by the programs of the engine `call`, in a table. A process of its own
//! answers, one for each rule: when it ends, however it does, the kernel lets everybody go on.

mod holder;
mod marks;
mod process;
mod support;

pub use process::held;
pub use support::FileSupport;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    os::{fd::BorrowedFd, unix::fs::MetadataExt as _},
};

use chaos_common::{abi::Operation, value::PathGlob};

use self::{holder::Holder, marks::Place};
use super::{KernelError, RuleId};
use crate::target::{self, Cgroup, CgroupRoot};

/// What is to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFiles {
    /// Paths of files, and maybe of some but not: the rule knows which.
    pub paths: Vec<PathGlob>,
    /// Of [`Operation::Open`], [`Operation::Read`] and [`Operation::Write`].
    pub operations: BTreeSet<Operation>,
}

/// The tables that a holder reads.
pub(super) struct Tables<'a> {
    /// What is to wait, and until when.
    pub(super) calls: BorrowedFd<'a>,
    /// Until when the daemon counts as alive.
    pub(super) lease: BorrowedFd<'a>,
}

pub(super) struct Files {
    root: CgroupRoot,
    /// Whether targets may have no process yet, and then get one from here.
    is_run: bool,
    held: HashMap<RuleId, Held>,
}

/// What is held for one rule.
struct Held {
    target: Cgroup,
    wanted: HeldFiles,
    holder: Holder,
}

/// Lets everybody go on who waits for a daemon of this node.
///
/// # Errors
/// When a process that holds files cannot be ended.
pub(super) fn sweep_node() -> Result<(), KernelError> {
    holder::end_all().map_err(failed("end", &"every daemon"))
}

/// A mount namespace, and a root directory in it: the device and inode of each.
type View = [(u64, u64); 2];

impl Files {
    pub(super) fn new(root: CgroupRoot, is_run: bool) -> Self {
        Self { root, is_run, held: HashMap::new() }
    }

    /// Lets calls of a target wait.
    pub(super) fn hold(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &HeldFiles,
        tables: &Tables<'_>,
    ) -> Result<(), KernelError> {
        if self.held.contains_key(&rule) {
            return Ok(());
        }
        let holder = Holder::start(rule, wanted, tables, self.is_run)
            .map_err(failed("start", &target.path))?;
        let held = Held { target: target.clone(), wanted: wanted.clone(), holder };
        let held = self.held.entry(rule).or_insert(held);
        let marked = held.follow(&self.root, self.is_run);
        if marked.is_err() {
            self.free(rule);
        }
        marked
    }

    /// Lets everybody go on.
    pub(super) fn free(&mut self, rule: RuleId) {
        self.held.remove(&rule);
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.held.keys().copied()
    }

    /// Follows a target's processes into the mount namespaces that they use now, and their mounts and directories that
    /// are new. A holder that has ended is replaced.
    pub(super) fn refresh(&mut self, rule: RuleId, tables: &Tables<'_>) -> Result<(), KernelError> {
        let Some(held) = self.held.get_mut(&rule) else { return Ok(()) };
        if held.holder.has_ended() {
            let restarted = Holder::start(rule, &held.wanted, tables, self.is_run);
            held.holder = restarted.map_err(failed("start", &held.target.path))?;
        }
        held.follow(&self.root, self.is_run)
    }
}

impl Held {
    fn follow(&mut self, root: &CgroupRoot, is_run: bool) -> Result<(), KernelError> {
        let path = &self.target.path;
        let mut pids = target::pids_below(root, path).map_err(failed("find", path))?;
        if pids.is_empty() && is_run {
            // What will be run begins where this process is.
            pids.push(std::process::id());
        }
        let mut seen = BTreeSet::new();
        let mut result = Ok(());
        for pid in pids {
            // A process that ends meanwhile needs nothing any more.
            let Some(view) = view(pid) else { continue };
            if !seen.insert(view) {
                continue;
            }
            let sees = |pid| self::view(pid).is_none_or(|other| other[0] == view[0]);
            let is_shared = sees(1) || sees(std::process::id());
            let marked = marks::places(pid, is_shared, &self.wanted).and_then(|places| {
                places.into_iter().map(|place| self.mark(&place)).fold(Ok(()), Result::and)
            });
            result = result.and(marked);
        }
        result
    }

    /// Each time anew: the kernel forgets a mark with what it was on, and what comes in its place may look the same.
    fn mark(&mut self, place: &Place) -> Result<(), KernelError> {
        self.holder.mark(place).map_err(|error| KernelError::Hook {
            what: "watch",
            place: place.path.display().to_string(),
            reason: place.reason(&error, &self.wanted),
        })
    }
}

fn view(pid: u32) -> Option<View> {
    let look = |name: &str| {
        let seen = fs::metadata(format!("/proc/{pid}/{name}")).ok()?;
        Some((seen.dev(), seen.ino()))
    };
    Some([look("ns/mnt")?, look("root")?])
}

fn failed<E: std::fmt::Display, P: ToString>(
    what: &'static str,
    place: &P,
) -> impl FnOnce(E) -> KernelError + use<E, P> {
    let place = format!("what holds files for {}", place.to_string());
    move |error| KernelError::Hook { what, place, reason: error.to_string() }
}
