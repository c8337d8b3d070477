//! Follows the hosts and cgroups that filters name: what gets another address, or comes back as another cgroup, while
//! a fault is there is still meant.
//!
//! One thread, and none while nobody is named. It asks without the lock: a name server may take its time.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    thread,
    time::Duration,
};

use chaos_common::{
    fault::{Neighbour, Others},
    spec::InjectionId,
};
use parking_lot::{Condvar, Mutex};

use super::{Engine, injection::Phase, record::Record};
use crate::peer::Seeker;

/// How often everybody is looked for again.
const EVERY: Duration = Duration::from_secs(5);

/// The thread's handle.
#[derive(Default)]
pub(super) struct Aim {
    state: Mutex<State>,
    stopped: Condvar,
}

#[derive(Default)]
struct State {
    runs: bool,
    stop: bool,
}

impl Aim {
    /// Makes sure that the thread is there, since somebody is named.
    pub(super) fn follow(engine: &Arc<Engine>) {
        let mut state = engine.aim.state.lock();
        if state.runs || state.stop {
            return;
        }
        let own = Arc::clone(engine);
        let thread = thread::Builder::new().name("aim".into()).spawn(move || run(&own));
        match thread {
            Ok(_) => state.runs = true,
            Err(error) => {
                tracing::error!(%error, "no thread to follow hosts and peers; they stay what they are");
            }
        }
    }

    /// The same for what an earlier daemon left, if anybody is named there.
    pub(super) fn resume(engine: &Arc<Engine>) {
        if !named(engine).is_empty() {
            Self::follow(engine);
        }
    }

    /// Ends the thread, at the latest when a name server has answered or has not.
    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.stopped.notify_all();
    }

    /// False when it is time to end.
    fn pause(&self) -> bool {
        let mut state = self.state.lock();
        if !state.stop {
            self.stopped.wait_for(&mut state, EVERY);
        }
        !state.stop
    }
}

fn run(engine: &Engine) {
    // What was said of whom, so that it is said once.
    let mut said: HashMap<InjectionId, String> = HashMap::new();
    while engine.aim.pause() {
        let named = {
            let mut state = engine.aim.state.lock();
            let named = named(engine);
            // Under the lock that `follow` takes: whoever comes later finds that nobody runs.
            state.runs = !named.is_empty();
            named
        };
        if named.is_empty() {
            return;
        }
        said.retain(|id, _| named.iter().any(|record| record.id == *id));
        for record in named {
            match aim(engine, &record) {
                Ok(()) => drop(said.remove(&record.id)),
                Err(problem) if said.get(&record.id) == Some(&problem) => {}
                Err(problem) => {
                    tracing::warn!(injection = %record.id, problem, "hosts and peers stay what they were; tried again");
                    said.insert(record.id, problem);
                }
            }
        }
    }
}

/// Injections whose filter names somebody, also those that somebody is busy with.
fn named(engine: &Engine) -> Vec<Record> {
    let world = engine.world.lock();
    let living = world.live.values().filter(|live| !matches!(live.phase, Phase::Stuck(_)));
    living
        .map(|live| &live.record)
        .filter(|record| record.spec.fault.naming_filter().is_some())
        .cloned()
        .collect()
}

/// Adds those whom an injection did not know.
fn aim(engine: &Engine, record: &Record) -> Result<(), String> {
    let Some(filter) = record.spec.fault.naming_filter() else { return Ok(()) };
    let target = record.target();
    let seeker = engine.seeker(&target);
    let found = seeker.others(filter).map_err(|error| error.to_string())?;
    let others = together(&record.others, found, seeker);
    if others == record.others {
        return Ok(());
    }
    tracing::info!(injection = %record.id, ?others, "those that are named are others now");
    let mut world = engine.world.lock();
    engine.settled(&mut world, &record.id);
    if world.active(&record.id).is_err() {
        // It has ended meanwhile.
        return Ok(());
    }
    let change = |record: &mut Record| record.others = others;
    engine.change(world, &record.id, change).map(drop).map_err(|error| error.to_string())
}

/// Those who were known and who were found. Addresses stay, since connections to them go on; a cgroup that is gone has
/// no sockets any more, and is not known for longer.
fn together(known: &Others, found: Others, seeker: Seeker<'_>) -> Others {
    let mut together = known.clone();
    let addresses: HashSet<&IpAddr> = known.addresses.iter().collect();
    let new = found.addresses.into_iter().filter(|address| !addresses.contains(address));
    together.addresses.extend(new);
    let is_left = |cgroup: &Neighbour| found.cgroups.contains(cgroup) || seeker.has(cgroup);
    together.cgroups.retain(is_left);
    let new = found.cgroups.iter().filter(|cgroup| !known.cgroups.contains(cgroup));
    together.cgroups.extend(new.cloned());
    together
}
