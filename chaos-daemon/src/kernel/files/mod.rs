//! Calls on files that wait: the kernel asks a process of ours before they go on (fanotify), and that answers later.
//!
//! Which calls wait, and how long, is said by the programs of the engine `call`, in a table. A process of its own
//! answers, one for each rule: when it ends, however it does, the kernel lets everybody go on.

mod cover;
mod filesystem;
mod finder;
mod holder;
mod places;
mod process;
mod support;
mod view;

pub use process::main as holder_main;
pub use support::FileSupport;

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    os::fd::BorrowedFd,
    time::Duration,
};

use chaos_common::{abi::Operation, value::PathGlob};

use self::{
    finder::{Answer, Finder, strayed},
    holder::Holder,
    places::{Mark, Place},
    view::View,
};
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

/// As many places stay watched that nothing is about any more. The kernel asks about them, and keeps them in memory.
const MOST_STALE: usize = 512;

/// As many holders may end before anything is watched.
const MOST_LOST: u32 = 3;

/// The tables that a holder reads.
#[derive(Clone, Copy)]
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
    /// What the holder was told to watch.
    marked: BTreeSet<Mark>,
    /// Whether all is watched that should be.
    is_whole: bool,
    /// How many holders have ended since all was watched.
    lost: u32,
    /// Who looks for what is to be watched.
    finder: Option<Finder<Found>>,
}

/// What is to be watched, as far as it was found.
type Found = (Vec<Place>, Result<(), KernelError>);

/// How far following a target has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Done,
    /// Somebody looks what there is to watch.
    Looking,
}

/// How long it may take to look: a few thousand directories at the most.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same where somebody has looked just before, and others wait meanwhile.
const ADMITTED: Duration = Duration::from_secs(2);
/// The same where it goes on afterwards.
const GLANCE: Duration = Duration::from_millis(200);

const IS_LOST: &str = "whoever looked for files has ended; this is a bug";
const IS_LATE: &str = "a file system does not answer; `dmesg` and `cat /proc/mounts` may say which";

/// What is looked for.
#[derive(Clone)]
struct Search {
    target: Cgroup,
    wanted: HeldFiles,
    root: CgroupRoot,
    is_run: bool,
}

/// With what files are held.
struct Means<'a> {
    rule: RuleId,
    tables: &'a Tables<'a>,
    root: &'a CgroupRoot,
    is_run: bool,
    /// To be called again and again while something takes its time.
    alive: &'a dyn Fn(),
}

/// Lets everybody go on who waits for a daemon of this node.
///
/// # Errors
/// When a process that holds files cannot be ended.
pub(super) fn sweep_node() -> Result<(), KernelError> {
    holder::end_all().map_err(failed("end", &"every daemon"))
}

impl Files {
    pub(super) fn new(root: CgroupRoot, is_run: bool) -> Self {
        Self { root, is_run, held: HashMap::new() }
    }

    /// Lets calls of a target wait. Somebody has [looked](look) just before: it does not take long.
    pub(super) fn hold(
        &mut self,
        rule: RuleId,
        target: &Cgroup,
        wanted: &HeldFiles,
        tables: &Tables<'_>,
        alive: &dyn Fn(),
    ) -> Result<(), KernelError> {
        if self.held.contains_key(&rule) {
            return Ok(());
        }
        let means = Means { rule, tables, root: &self.root, is_run: self.is_run, alive };
        let mut held = Held {
            holder: means.holder(target, wanted)?,
            target: target.clone(),
            wanted: wanted.clone(),
            marked: BTreeSet::new(),
            is_whole: true,
            lost: 0,
            finder: None,
        };
        if held.follow(&means, ADMITTED)? == Progress::Looking {
            return Err(not_found(target, IS_LATE));
        }
        self.held.insert(rule, held);
        Ok(())
    }

    /// Lets everybody go on.
    pub(super) fn free(&mut self, rule: RuleId) {
        self.held.remove(&rule);
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = RuleId> {
        self.held.keys().copied()
    }

    /// Whether everything was watched that should be when somebody last looked. Of what is yet to be held after an earlier
    /// process nobody looked.
    pub(super) fn are_held(&self, rule: RuleId) -> bool {
        self.held.get(&rule).is_none_or(|held| held.is_whole)
    }

    /// Follows a target's processes into the mount namespaces that they use now, and their mounts and directories that
    /// are new. A holder that has ended is replaced.
    pub(super) fn refresh(
        &mut self,
        rule: RuleId,
        tables: &Tables<'_>,
        alive: &dyn Fn(),
    ) -> Result<(), KernelError> {
        let Some(held) = self.held.get_mut(&rule) else { return Ok(()) };
        let followed = held
            .follow(&Means { rule, tables, root: &self.root, is_run: self.is_run, alive }, GLANCE);
        match followed {
            Ok(Progress::Done) => (held.is_whole, held.lost) = (true, 0),
            // To be seen in the next round.
            Ok(Progress::Looking) => {}
            // So is another holder, but not for ever.
            Err(_) if held.holder.is_lost() => {
                held.lost += 1;
                held.is_whole &= held.lost < MOST_LOST;
            }
            Err(_) => held.is_whole = false,
        }
        followed.map(drop)
    }
}

impl Means<'_> {
    fn holder(&self, target: &Cgroup, wanted: &HeldFiles) -> Result<Holder, KernelError> {
        // It ends with the lease, of which an earlier process may have left little.
        (self.alive)();
        Holder::start(self.rule, wanted, self.tables, self.is_run)
            .map_err(failed("start", &target.path))
    }
}

impl Held {
    fn follow(&mut self, means: &Means<'_>, patience: Duration) -> Result<Progress, KernelError> {
        let Some((places, found)) = self.places(means, patience) else {
            return Ok(Progress::Looking);
        };
        let marks: BTreeSet<Mark> = places.iter().map(Place::mark).collect();
        let is_new = self.holder.is_lost() || self.marked.difference(&marks).count() > MOST_STALE;
        // It goes on until the new one has been told everything.
        let former = if is_new {
            let holder = means.holder(&self.target, &self.wanted)?;
            self.marked.clear();
            Some(mem::replace(&mut self.holder, holder))
        } else {
            None
        };
        let marked = self.mark(&places, means.alive);
        self.marked.extend(marks);
        drop(former);
        found.and(marked).map(|()| Progress::Done)
    }

    /// What is to be watched, as far as it was found; `None` while somebody looks.
    fn places(&mut self, means: &Means<'_>, patience: Duration) -> Option<Found> {
        let failed = |reason| (Vec::new(), Err(not_found(&self.target, reason)));
        let finder = match self.finder.take() {
            Some(finder) => finder,
            None => {
                let search = Search {
                    target: self.target.clone(),
                    wanted: self.wanted.clone(),
                    root: means.root.clone(),
                    is_run: means.is_run,
                };
                match search.start() {
                    Ok(finder) => finder,
                    Err(error) => return Some((Vec::new(), Err(error))),
                }
            }
        };
        match finder.wait(patience, means.alive) {
            Answer::Found(found) => Some(found),
            Answer::Lost => Some(failed(IS_LOST)),
            Answer::Late => {
                let found = (finder.age() > PATIENCE).then(|| failed(IS_LATE));
                self.finder = Some(finder);
                found
            }
        }
    }

    /// Each time anew: the kernel forgets a mark with what it was on, and what comes in its place may look the same.
    fn mark(&mut self, places: &[Place], alive: &dyn Fn()) -> Result<(), KernelError> {
        let mut result = Ok(());
        for place in places {
            alive();
            let marked = self.holder.mark(place).map_err(|error| KernelError::Hook {
                what: "watch",
                place: place.path.display().to_string(),
                reason: place.reason(&error, &self.wanted),
            });
            result = result.and(marked);
            if self.holder.is_lost() {
                break;
            }
        }
        result
    }
}

/// Looks for what would be watched, so that it is known to answer before anybody has to wait for it.
///
/// # Errors
/// When something does not answer, or cannot be watched.
pub fn look(
    root: &CgroupRoot,
    is_run: bool,
    target: &Cgroup,
    wanted: &HeldFiles,
) -> Result<(), KernelError> {
    let search =
        Search { target: target.clone(), wanted: wanted.clone(), root: root.clone(), is_run };
    match search.start()?.wait(PATIENCE, &|| ()) {
        Answer::Found((_, found)) => found,
        Answer::Late => Err(not_found(target, IS_LATE)),
        Answer::Lost => Err(not_found(target, IS_LOST)),
    }
}

fn not_found(target: &Cgroup, reason: &str) -> KernelError {
    let place = format!("what is to be held for {}", target.path);
    KernelError::Hook { what: "find", place, reason: reason.to_owned() }
}

impl Search {
    fn start(self) -> Result<Finder<Found>, KernelError> {
        let target = self.target.clone();
        if strayed() > 0 {
            return Err(not_found(&target, IS_LATE));
        }
        Finder::start(move || self.run()).map_err(|error| not_found(&target, &error.to_string()))
    }

    fn run(self) -> Found {
        let mut places = Vec::new();
        let found = self.find(&mut places);
        (places, found)
    }

    fn find(&self, places: &mut Vec<Place>) -> Result<(), KernelError> {
        let path = &self.target.path;
        let mut pids = target::pids_below(&self.root, path).map_err(failed("find", path))?;
        if pids.is_empty() && self.is_run {
            // What will be run begins where this process is.
            pids.push(std::process::id());
        }
        let own = [1, std::process::id()].map(View::identity);
        let mut seen = BTreeSet::new();
        let mut result = Ok(());
        for pid in pids {
            // A process that ends meanwhile needs nothing any more.
            let view = match View::identity(pid) {
                Ok(Some(view)) => view,
                Ok(None) => continue,
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            };
            if !seen.insert(view) {
                continue;
            }
            let shares = |other: &Result<Option<view::Identity>, _>| match other {
                Ok(Some(other)) => other[0] == view[0],
                Ok(None) | Err(_) => true,
            };
            let is_shared = own.iter().any(shares);
            let found = places::find(pid, is_shared, &self.wanted, places);
            result = result.and(found);
        }
        result
    }
}

fn failed<E: std::fmt::Display, P: ToString>(
    what: &'static str,
    place: &P,
) -> impl FnOnce(E) -> KernelError + use<E, P> {
    let place = format!("what holds files for {}", place.to_string());
    move |error| KernelError::Hook { what, place, reason: error.to_string() }
}
