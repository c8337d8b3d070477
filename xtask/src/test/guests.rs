//! Test runs in VMs: one per kernel, a few at a time.

use std::sync::Mutex;

use super::Options;
use super::libtest::{self, Skip};
use super::report::Run;
use crate::artifacts::Binaries;
use crate::vm::{self, Echo, Guest, Outcome, Prepared, matrix, programs};

/// What the daemon and the command line do by themselves, whatever the kernel: also where packets wait in the
/// daemon, in `…::tap::…`.
const OWN_SUITES: [&str; 6] =
    ["bad_input::", "crash::", "exec::", "lifecycle::", "tap::", "targets::"];

/// What all network faults have in common, and other people's programs: of two kernels of one line, one runs it.
const COMMON_SUITES: [&str; 4] =
    ["network_cells::", "network_composed::", "network_paths::", "network_programs::"];

/// Runs the behaviour tests under each kernel, some at a time. The runs come in the kernels' order.
pub(crate) fn all(kernels: &[Prepared], binaries: &Binaries, options: &Options) -> Vec<Run> {
    let milestones = matrix::milestones(kernels);
    let leaves_out = |kernel: &Prepared| !options.chosen() && !milestones.contains(&kernel.name);
    let next = Mutex::new(kernels.iter().enumerate());
    let take = || next.lock().ok().and_then(|mut next| next.next());
    let worker = || {
        let mut done = Vec::new();
        while let Some((at, kernel)) = take() {
            let mut left_out = Vec::new();
            if leaves_out(kernel) {
                left_out.extend(OWN_SUITES);
            }
            if leaves_out(kernel) && kernel.name == matrix::OVERRIDE {
                left_out.extend(COMMON_SUITES);
            }
            let mut run = one(kernel, binaries, options, &left_out);
            let reason =
                format!("left to {} in a whole run; `--kernel` asks for it", milestones.join(", "));
            let skip = |suite: &str| Skip { test: format!("{suite}*"), reason: reason.clone() };
            run.results.skips.extend(left_out.into_iter().map(skip));
            done.push((at, run));
        }
        done
    };
    let mut runs: Vec<(usize, Run)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    runs.sort_by_key(|(at, _)| *at);
    runs.into_iter().map(|(_, run)| run).collect()
}

fn one(kernel: &Prepared, binaries: &Binaries, options: &Options, left_out: &[&str]) -> Run {
    let mut guest =
        Guest::new(&["/bin/vm-tests", "--color=never"], Echo::Lines(kernel.name.clone()));
    guest.cpus = options.cpus;
    guest.disk = match programs::disk() {
        Ok(disk) => Some(disk),
        Err(error) => return Run::broken(&kernel.name, format_args!("{error:#}")),
    };
    guest.argv.extend(options.filter.clone());
    guest.argv.extend(left_out.iter().flat_map(|suite| ["--skip".to_owned(), (*suite).to_owned()]));
    let finished = match vm::run(kernel, binaries, &guest) {
        Ok(finished) => finished,
        Err(error) => return Run::broken(&kernel.name, format_args!("{error:#}")),
    };
    let results = libtest::parse(finished.lines.iter().map(String::as_str));
    let explained = match finished.outcome {
        Outcome::Exited(0) => results.closed > 0,
        Outcome::Exited(_) => results.closed > 0 && results.failed > 0,
        Outcome::Panicked | Outcome::TimedOut(_) | Outcome::Broken(_) => false,
    };
    let mut trouble = Vec::new();
    if !explained {
        trouble.push(format!("{} (console: {})", finished.outcome, finished.log.display()));
    }
    if !finished.complaints.is_empty() {
        trouble.push(format!("the kernel complained:\n{}", finished.complaints.join("\n")));
    }
    let trouble = (!trouble.is_empty()).then(|| trouble.join("\n"));
    Run { name: kernel.name.clone(), results, trouble, elapsed: finished.elapsed }
}
