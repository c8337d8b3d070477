//! Runs tests: at most so many at once, skipped ones named with their reason, slow ones too.

use std::{
    sync::{
        Condvar, Mutex, OnceLock, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Conclusion, Trial};

use super::{
    Skip, Tier, poll, resident,
    skip::{kernel, own_machine, skip},
};

/// A test that takes longer is named while it runs: when a machine hangs, its console then says where.
const SLOW: Duration = Duration::from_secs(60);

/// Makes a trial of a test, named after its module and function.
pub(crate) fn trial(
    module: &str,
    name: &str,
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    // The kill switch removes the hops of all daemons of a machine, and these tests pull it.
    let take = if module.contains("::crash") { Permit::all } else { Permit::one };
    trial_with(take, module, name, test)
}

fn trial_with(
    take: fn() -> Permit,
    module: &str,
    name: &str,
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    let module = module.split_once("::").map_or(module, |(_, below)| below);
    let tier = Tier::here();
    let name = match (tier.word(), module.split_once("::")) {
        (None, _) => format!("{module}::{name}"),
        (Some(tier), None) => format!("{module}::{tier}::{name}"),
        (Some(tier), Some((kind, part))) if part == tier => format!("{kind}::{tier}::{name}"),
        (Some(tier), Some((kind, part))) => format!("{kind}::{tier}::{part}::{name}"),
    };
    let shown = name.clone();
    Trial::ignorable_test(name, move || {
        let _permit = take();
        let _watch = announce_if_slow(shown.clone());
        let started = Instant::now();
        let outcome = tier.during(test);
        if std::env::var_os("CHAOS_TEST_TIMES").is_some() {
            println!("TIME {:6.2} {shown}", started.elapsed().as_secs_f64());
        }
        match outcome {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(Skip(reason)) => {
                    println!("SKIP {shown}: {reason}");
                    Ok(Completion::ignored_with(reason))
                }
                None => Err(describe(&error).into()),
            },
        }
    })
}

/// The chain of causes, and the lines of the test that led there.
fn describe(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let trace = error.backtrace().to_string();
    let lines = trace.lines().filter_map(|line| line.trim().strip_prefix("at "));
    let lines = lines
        .filter(|line| line.contains("/tests/vm/") && !line.contains("/src/harness/runner.rs"));
    let lines: String = lines.map(|line| format!("\n  at {line}")).collect();
    format!("{}{lines}", causes.join("\n  because: "))
}

/// Declares a module's tests, functions without arguments.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(crate::harness::trial(module_path!(), stringify!($name), $name)),*]
        }
    };
}
pub(crate) use tests;

static PERMITS: OnceLock<Permits> = OnceLock::new();

/// How many tests may run at the same time.
struct Permits {
    all: usize,
    free: Mutex<usize>,
    changed: Condvar,
}

/// The right to run, for one test or for one that must be alone.
struct Permit(usize);

impl Permit {
    fn permits() -> &'static Permits {
        PERMITS.get_or_init(|| Permits::new(1))
    }

    fn one() -> Self {
        Self::take(1)
    }

    fn all() -> Self {
        Self::take(Self::permits().all)
    }

    fn take(wanted: usize) -> Self {
        let Permits { free, changed, .. } = Self::permits();
        // The lock guards a number; a panic elsewhere cannot spoil it.
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < wanted {
            free = changed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= wanted;
        Self(wanted)
    }
}

impl Permits {
    fn new(all: usize) -> Self {
        Self { all, free: Mutex::new(all), changed: Condvar::new() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Permits { free, changed, .. } = Self::permits();
        *free.lock().unwrap_or_else(PoisonError::into_inner) += self.0;
        changed.notify_all();
    }
}

fn announce_if_slow(name: String) -> mpsc::Sender<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let started = Instant::now();
        while receiver.recv_timeout(SLOW) == Err(RecvTimeoutError::Timeout) {
            println!("RUNNING {name} for {} s", started.elapsed().as_secs());
        }
    });
    sender
}

/// Runs the trials that the arguments select.
pub(crate) fn run(mut arguments: Arguments, mut trials: Vec<Trial>) -> Conclusion {
    // The kill switch removes the clsact filters of all daemons of a machine; newer kernels have tcx.
    let alone = own_machine() || kernel() < (6, 6);
    let jobs = arguments.test_threads.unwrap_or(if alone { 1 } else { 2 });
    PERMITS.get_or_init(|| Permits::new(jobs.max(1)));
    // With one thread, a test's name is printed before the test and its outcome after it, and what
    // the test prints lands in between.
    arguments.test_threads = Some(jobs.max(2));
    trials.push(census_at_the_end());
    let mut conclusion = libtest_mimic::run(&arguments, trials);
    // With the census left out by a filter.
    if let Err(error) = resident::dismiss_all() {
        println!("the daemon of several tests: {}", describe(&error));
        conclusion.num_failed += 1;
    }
    conclusion
}

/// The last test: as many BPF objects exist as before the first.
fn census_at_the_end() -> Trial {
    let before = bpf_witness::census();
    trial_with(
        Permit::all,
        "vm_tests::harness_itself",
        "the_kernel_holds_what_it_held_before",
        move || {
            resident::dismiss_all()?;
            if !own_machine() {
                return skip("other programs of this machine load BPF programs too");
            }
            let before = before?;
            poll::until_ok(
                "the kernel to free the last BPF object",
                Duration::from_secs(10),
                || {
                    let now = bpf_witness::census()?;
                    ensure!(now == before, "{now:?} are there, before the tests {before:?}");
                    Ok(())
                },
            )
        },
    )
}
