//! How an engine starts: observe what an earlier one left, decide, act.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc, time::Duration};

use chaos_common::{injection::End, spec::InjectionId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::broadcast;

use super::{
    Engine,
    aim::Aim,
    audit::{Action, Audit},
    cgroup_watch::CgroupWatch,
    error::StartError,
    injection::{Ending, Phase},
    journal::{Entry, Journal},
    keeper::{Keeper, SELF},
    recovery::{Decision, decide},
    world::World,
};
use crate::{
    boot_clock::{self, BootTime},
    effect::{Owner, REMOVED},
    kernel::{Instance, Kernel, Pins},
    policy::Policy,
    target::{CgroupRoot, Extent},
};

/// Notices that a slow watcher may be behind before it misses some.
const BACKLOG: usize = 4096;

/// What an engine needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cgroup tree.
    pub root: CgroupRoot,
    /// What is allowed.
    pub policy: Policy,
    /// How long faults go on without a sign of life from this process.
    pub lease: Duration,
    /// Journal and audit log are kept here, and maps and hooks are pinned under this bpffs. Without it
    /// everything ends with the process.
    pub durable: Option<Durable>,
}

/// Where a daemon keeps what outlives it.
#[derive(Clone, Debug)]
pub struct Durable {
    /// Journal and audit log.
    pub state_dir: PathBuf,
    /// A mounted bpffs.
    pub bpffs: PathBuf,
}

impl Engine {
    /// Starts an engine: adopts what an earlier one of the same build left within its lease, and
    /// cleans up the rest.
    ///
    /// # Errors
    /// When the kernel, the state directory or bpffs cannot be used.
    pub fn start(config: Config) -> Result<Arc<Self>, StartError> {
        let machine = |what| move |source| StartError::Machine { what, source };
        if config.root.extent() == Extent::Part {
            return Err(StartError::PartOfTree(config.root.path().to_owned()));
        }
        lift_limits();
        warn_of_own_pids();
        let boot_id = boot_clock::boot_id().map_err(machine("read the boot id"))?;
        let (journal, audit, pins, instance) = match &config.durable {
            None => (None, None, None, Instance::process(std::process::id())),
            Some(Durable { state_dir, bpffs }) => {
                let journal = Journal::open(state_dir)?;
                let audit = Audit::open(state_dir)?;
                let pins = Pins::open(bpffs)?;
                // However it is spelt, it is the same daemon after a restart.
                let place = bpffs.canonicalize().map_err(machine("resolve the path of bpffs"))?;
                (Some(journal), Some(audit), Some(pins), Instance::daemon(&place))
            }
        };
        let kernel = Kernel::load(&config.root, pins, instance, config.lease)?;
        let cgroups =
            CgroupWatch::new().map_err(|errno| machine("watch cgroups")(io::Error::from(errno)))?;
        let mut world = World::new(config.root.clone(), kernel, cgroups, audit, boot_id);
        if let Some(journal) = &journal {
            take_up(&mut world, journal)?;
        }
        world.kernel.sweep_rules()?;
        world.kernel.sweep_hooks()?;
        if let Err(error) = world.kernel.refresh_hooks() {
            tracing::warn!(%error, "not everything is as it should be; tried again");
        }
        let lease = Arc::clone(world.kernel.lease());
        let (notices, _) = broadcast::channel(BACKLOG);
        let engine = Arc::new(Self {
            root: config.root,
            policy: config.policy,
            journal,
            world: Mutex::new(world),
            settled: Condvar::new(),
            notices,
            lease,
            aim: Aim::default(),
            keeper: Keeper::new().map_err(|errno| machine("make an eventfd")(errno.into()))?,
        });
        Keeper::start(&engine).map_err(machine("start a thread"))?;
        Aim::resume(&engine);
        Ok(engine)
    }
}

/// Observes, decides and acts about what an earlier daemon left. What goes on is adopted first, parents before
/// what lies in them, and only then is anything undone: so nothing that goes on is ever let go.
fn take_up(world: &mut World, journal: &Journal) -> Result<(), StartError> {
    // One moment for all, so that a long list does not outlast the lease half-way; read before the first
    // adoption renews it.
    let (now, lease) = (BootTime::now(), world.kernel.lease().in_kernel());
    let mut entries = journal.load()?;
    // In the order in which they came.
    entries.sort_by_key(|entry| entry.record.rule);
    let mut known = Vec::new();
    for Entry { record, is_recovering } in entries {
        let (id, level) = (record.id.clone(), record.cgroup_level);
        match world.insert(record, Phase::Active) {
            Ok(()) => known.push((level, id, is_recovering)),
            Err(error) => {
                // Nothing of it is or stays on the node: the sweep removes rules without an owner.
                journal.set_aside_entry(&id, &error.to_string());
                world.audit(SELF, Action::End { id: &id, why: End::Interrupted, fired: 0 });
            }
        }
    }
    known.sort_by_key(|(level, ..)| *level);
    let mut over = Vec::new();
    for (_, id, is_recovering) in known {
        let Some(live) = world.live.get(&id) else { continue };
        match decide(&live.record, &world.facts(live, now, lease, is_recovering)) {
            Decision::End(ending) => over.push((id, ending)),
            Decision::GoOn => match adopt(world, &id) {
                None => {
                    tracing::info!(injection = %id, "adopted");
                    if let Err(error) = world.kernel.lease().extend() {
                        tracing::error!(%error, "could not renew the lease");
                    }
                    world.audit(SELF, Action::Adopt { id: &id });
                }
                Some(reason) => over.push((id, Ending::interrupted(reason))),
            },
        }
    }
    for (id, ending) in over {
        let why = ending.why;
        tracing::info!(injection = %id, why = why.word(), reason = ending.reason, "an injection of an earlier daemon is over");
        let ended = world.end(&id, ending, Some(journal));
        let fired = ended.map_or(0, |ended| ended.counters.fired);
        world.audit(SELF, Action::End { id: &id, why, fired });
    }
    Ok(())
}

/// Makes the effects of an earlier process this one's own. If one of them is not whole, says why.
fn adopt(world: &mut World, id: &InjectionId) -> Option<&'static str> {
    let Some(live) = world.live.get(id) else { return Some(REMOVED) };
    let (target, effects) = (live.record.target(), live.effects.clone());
    let owner = Owner { rule: live.record.rule, target: &target };
    let mut adopted = effects.iter().map(|effect| {
        let is_whole = effect.adopt(owner, &mut world.kernel).unwrap_or_else(|error| {
            tracing::warn!(injection = %id, %error, "could not adopt");
            false
        });
        (!is_whole).then(|| effect.lost())
    });
    adopted.find_map(|lost| lost)
}

/// Whether a run is over is told by its process id, which other processes here know by another number in a pid
/// namespace of its own.
fn warn_of_own_pids() {
    /// `PROC_PID_INIT_INO` of `linux/proc_ns.h`.
    const OF_THE_MACHINE: u64 = 0xEFFF_FFFC;
    if fs::metadata("/proc/self/ns/pid").is_ok_and(|pids| pids.ino() != OF_THE_MACHINE) {
        tracing::warn!(
            "this is a pid namespace of its own: processes of others are not found, and other daemons and runs may take \
             what this one has made for leftovers, or the other way round; share the machine's pids (--pid=host)"
        );
    }
}

/// Old kernels count maps as locked memory, and every target that is received for is a descriptor.
fn lift_limits() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, libc::RLIM_INFINITY, libc::RLIM_INFINITY);
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
