//! Test runs in VMs: one per kernel, a few at a time.

use std::sync::Mutex;

use super::report::Run;
use super::{Options, libtest};
use crate::artifacts::Binaries;
use crate::vm::{self, Echo, Guest, Outcome, Prepared};

/// Runs the behaviour tests under each kernel, some at a time. The runs come in the kernels' order.
pub(crate) fn all(kernels: &[Prepared], binaries: &Binaries, options: &Options) -> Vec<Run> {
    let next = Mutex::new(kernels.iter().enumerate());
    let take = || next.lock().ok().and_then(|mut next| next.next());
    let worker = || {
        let mut done = Vec::new();
        while let Some((at, kernel)) = take() {
            done.push((at, one(kernel, binaries, options)));
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

fn one(kernel: &Prepared, binaries: &Binaries, options: &Options) -> Run {
    let mut guest =
        Guest::new(&["/bin/vm-tests", "--color=never"], Echo::Lines(kernel.name.clone()));
    guest.cpus = options.cpus;
    guest.argv.extend(options.filter.clone());
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
