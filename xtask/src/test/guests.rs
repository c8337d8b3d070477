//! Test runs in VMs: one per kernel, a few at a time.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use anyhow::Result;

use super::Options;
use super::libtest::{self, Skip};
use super::report::Run;
use crate::artifacts::Binaries;
use crate::sh;
use crate::vm::{self, Echo, Guest, Outcome, Prepared, matrix, programs};

/// What the daemon and the command line do by themselves, whatever the kernel: also where packets wait in the daemon.
const OWN_SUITES: [&str; 6] = ["bad_input", "crash", "exec", "lifecycle", TAP, "targets"];

/// The part of any suite that holds packets in the daemon: `…::tap::…`.
const TAP: &str = "tap";

/// The suites of the families that are about packets begin so.
const NETWORK: [&str; 2] = ["network_", "dns_"];

/// A suite of the network family that the kernel without `fq` runs too: packets wait in all of its tests, and without
/// `fq` they wait in the daemon. It is a short one.
const ALSO_WITHOUT_FQ: &str = "network_reorder";

/// Other people's programs under faults of calls: they take long to begin, and what they see differs by the way in which
/// calls fail only.
const CALL_PROGRAMS: &str = "call_programs";

/// Other people's resolvers: they take long too, and what they make of an answer is not the kernel's.
const DNS_PROGRAMS: &str = "dns_programs";

/// Which suites a whole run leaves to which kernels. Every suite that is named nowhere here runs under every kernel.
struct Plan {
    suites: BTreeSet<String>,
    milestones: Vec<String>,
    networked: Vec<String>,
    /// The oldest and the newest of these.
    ends_of_networked: Vec<String>,
    ways_of_calls: Vec<String>,
}

impl Plan {
    fn new(kernels: &[Prepared], suites: BTreeSet<String>) -> Self {
        let networked = matrix::networked(kernels);
        Self {
            suites,
            milestones: matrix::milestones(kernels),
            ends_of_networked: ends(&networked),
            networked,
            ways_of_calls: matrix::ways_of_calls(kernels),
        }
    }

    /// The kernels that alone run a suite, or `None` if all do.
    fn home(&self, suite: &str) -> Option<&[String]> {
        if suite == TAP {
            // It differs from kernel to kernel as little as the daemon does.
            Some(&self.milestones[..self.milestones.len().min(1)])
        } else if OWN_SUITES.contains(&suite) {
            Some(&self.milestones)
        } else if suite == CALL_PROGRAMS {
            Some(&self.ways_of_calls)
        } else if suite == DNS_PROGRAMS {
            Some(&self.ends_of_networked)
        } else if NETWORK.iter().any(|start| suite.starts_with(start)) {
            Some(&self.networked)
        } else {
            None
        }
    }

    /// The suites that a kernel does not run, each with the reason.
    fn left_out(&self, kernel: &str) -> Vec<Skip> {
        let skip = |suite: &String| {
            let home = self.home(suite)?;
            let is_here = home.iter().any(|name| name == kernel)
                || kernel == matrix::OVERRIDE && suite == ALSO_WITHOUT_FQ;
            // Where none of the kernels for it is at hand, another will do.
            if is_here || home.is_empty() {
                return None;
            }
            let names = home.join(", ");
            let reason = format!("left to {names} in a whole run; `--kernel` asks for it");
            Some(Skip { test: format!("{suite}::*"), reason })
        };
        self.suites.iter().filter_map(skip).collect()
    }
}

fn ends(names: &[String]) -> Vec<String> {
    names.first().into_iter().chain(names.iter().skip(1).next_back()).cloned().collect()
}

/// The suites of the test program, by its own list of tests, and the part that is planned like one.
fn suites(binaries: &Binaries) -> Result<BTreeSet<String>> {
    let list = sh::capture_text(Command::new(binaries.program("vm-tests")?).arg("--list"))?;
    Ok(list.lines().filter_map(suite_of).chain([TAP]).map(str::to_owned).collect())
}

/// The suite in a line `suite::part::name: test`.
fn suite_of(line: &str) -> Option<&str> {
    Some(line.strip_suffix(": test")?.split_once("::")?.0)
}

/// Runs the behaviour tests under each kernel, some at a time. The runs come in the kernels' order.
pub(crate) fn all(
    kernels: &[Prepared],
    binaries: &Binaries,
    options: &Options,
) -> Result<Vec<Run>> {
    // Who asks for kernels gets all of the tests there.
    let suites = if options.chosen() { BTreeSet::new() } else { suites(binaries)? };
    let plan = Plan::new(kernels, suites);
    let mut queue: Vec<(usize, &Prepared, Vec<Skip>)> = kernels
        .iter()
        .enumerate()
        .map(|(at, kernel)| (at, kernel, plan.left_out(&kernel.name)))
        .collect();
    // The longest first, so that they do not end alone.
    queue.sort_by_key(|(_, _, left_out)| left_out.len());
    let next = Mutex::new(queue.into_iter());
    let take = || next.lock().ok().and_then(|mut next| next.next());
    let worker = || {
        let mut done = Vec::new();
        while let Some((at, kernel, left_out)) = take() {
            let mut run = one(kernel, binaries, options, &left_out);
            run.results.skips.extend(left_out);
            done.push((at, run));
        }
        done
    };
    let mut runs: Vec<(usize, Run)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    runs.sort_by_key(|(at, _)| *at);
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

fn one(kernel: &Prepared, binaries: &Binaries, options: &Options, left_out: &[Skip]) -> Run {
    let mut guest =
        Guest::new(&["/bin/vm-tests", "--color=never"], Echo::Lines(kernel.name.clone()));
    guest.cpus = options.cpus;
    guest.disk = match programs::disk() {
        Ok(disk) => Some(disk),
        Err(error) => return Run::broken(&kernel.name, format_args!("{error:#}")),
    };
    guest.argv.extend(options.filter.clone());
    let suites = left_out.iter().map(|skip| skip.test.trim_end_matches('*').to_owned());
    guest.argv.extend(suites.flat_map(|suite| ["--skip".to_owned(), suite]));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Plan, ends, suite_of};

    fn left_out(kernel: &str) -> Vec<String> {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let suites = [
            "call_programs",
            "crash",
            "dns_error",
            "dns_programs",
            "file_delay",
            "network_loss",
            "network_reorder",
            "tap",
        ];
        let networked = names(&["5.10", "6.1", "6.12", "7.3"]);
        let plan = Plan {
            suites: BTreeSet::from(suites.map(str::to_owned)),
            milestones: names(&["5.10", "6.12"]),
            ends_of_networked: ends(&networked),
            networked,
            ways_of_calls: names(&["5.10", "7.3", "6.12-override"]),
        };
        plan.left_out(kernel).into_iter().map(|skip| skip.test).collect()
    }

    #[test]
    fn a_kernel_leaves_out_what_others_run() {
        assert!(left_out("5.10").is_empty());
        assert_eq!(left_out("6.12"), ["call_programs::*", "dns_programs::*", "tap::*"]);
        assert_eq!(left_out("6.1"), ["call_programs::*", "crash::*", "dns_programs::*", "tap::*"]);
        assert_eq!(left_out("7.3"), ["crash::*", "tap::*"]);
        let of_packets = ["dns_error::*", "dns_programs::*", "network_loss::*"];
        let left = [&["call_programs::*", "crash::*"], &of_packets[..]].concat();
        assert_eq!(left_out("7.2"), [&left[..], &["network_reorder::*", "tap::*"]].concat());
        assert_eq!(
            left_out("6.12-override"),
            [&["crash::*"], &of_packets[..], &["tap::*"]].concat()
        );
    }

    #[test]
    fn a_suite_is_what_a_name_begins_with() {
        assert_eq!(suite_of("network_loss::tap::matrix::udp: test"), Some("network_loss"));
        assert_eq!(suite_of("498 tests, 0 benchmarks"), None);
    }
}
