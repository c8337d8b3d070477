//! The behaviour tests: what a victim inside a target sees and what a bystander outside does not,
//! before, during and after a fault, on a real kernel. They run as root, on the host and in VMs.
//!
//! `vm-tests [FILTER]` runs them; `vm-tests victim` and `vm-tests child …` are their other processes.

mod harness;
mod victim;

#[path = "../tests/bad_input.rs"]
mod bad_input;
#[path = "../tests/call_cells.rs"]
mod call_cells;
#[path = "../tests/call_programs.rs"]
mod call_programs;
#[path = "../tests/call_rules.rs"]
mod call_rules;
#[path = "../tests/crash.rs"]
mod crash;
#[path = "../tests/dns_composed.rs"]
mod dns_composed;
#[path = "../tests/dns_delay.rs"]
mod dns_delay;
#[path = "../tests/dns_error.rs"]
mod dns_error;
#[path = "../tests/dns_fuzz.rs"]
mod dns_fuzz;
#[path = "../tests/dns_programs.rs"]
mod dns_programs;
#[path = "../tests/dns_record.rs"]
mod dns_record;
#[path = "../tests/dns_server.rs"]
mod dns_server;
#[path = "../tests/exec.rs"]
mod exec;
#[path = "../tests/file_delay.rs"]
mod file_delay;
#[path = "../tests/file_error.rs"]
mod file_error;
#[path = "../tests/harness_itself.rs"]
mod harness_itself;
#[path = "../tests/lifecycle.rs"]
mod lifecycle;
#[path = "../tests/memory_error.rs"]
mod memory_error;
#[path = "../tests/network_cells.rs"]
mod network_cells;
#[path = "../tests/network_composed.rs"]
mod network_composed;
#[path = "../tests/network_corrupt.rs"]
mod network_corrupt;
#[path = "../tests/network_delay.rs"]
mod network_delay;
#[path = "../tests/network_duplicate.rs"]
mod network_duplicate;
#[path = "../tests/network_loss.rs"]
mod network_loss;
#[path = "../tests/network_occupy.rs"]
mod network_occupy;
#[path = "../tests/network_partition.rs"]
mod network_partition;
#[path = "../tests/network_paths.rs"]
mod network_paths;
#[path = "../tests/network_programs.rs"]
mod network_programs;
#[path = "../tests/network_rate.rs"]
mod network_rate;
#[path = "../tests/network_reject.rs"]
mod network_reject;
#[path = "../tests/network_reorder.rs"]
mod network_reorder;
#[path = "../tests/socket_error.rs"]
mod socket_error;
#[path = "../tests/sweep.rs"]
mod sweep;
#[path = "../tests/syscall_error.rs"]
mod syscall_error;
#[path = "../tests/targets.rs"]
mod targets;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::Arguments;

fn main() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("victim") => victim::run().map(|()| ExitCode::SUCCESS),
        Some("child") => victim::child(&words[1..]),
        Some("capabilities") => harness::say_capabilities().map(|()| ExitCode::SUCCESS),
        Some(_) | None => {
            let arguments = Arguments::from_args();
            // SAFETY: no other thread exists yet that could read the environment.
            unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "1") };
            if !arguments.list {
                harness::own_mounts()?;
            }
            let trials = [
                harness_itself::trials(),
                network_loss::trials(),
                network_delay::trials(),
                network_duplicate::trials(),
                network_reorder::trials(),
                harness::under_tap(network_reorder::trials),
                network_corrupt::all_trials(),
                network_rate::trials(),
                harness::under_tap(network_rate::trials),
                network_partition::all_trials(),
                network_reject::trials(),
                network_cells::trials(),
                network_composed::trials(),
                network_paths::trials(),
                network_programs::trials(),
                network_occupy::trials(),
                syscall_error::trials(),
                harness::Tier::Override.trials(syscall_error::overriding),
                file_error::all_trials(),
                file_delay::all_trials(),
                socket_error::trials(),
                harness::Tier::Address.trials(socket_error::by_address),
                memory_error::trials(),
                dns_error::trials(),
                dns_record::trials(),
                dns_delay::trials(),
                dns_server::trials(),
                dns_composed::trials(),
                dns_fuzz::trials(),
                dns_programs::all_trials(),
                call_cells::trials(),
                harness::Tier::Override.trials(call_cells::overriding),
                call_programs::trials(),
                call_rules::trials(),
                harness::Tier::Override.trials(call_rules::trials),
                targets::trials(),
                lifecycle::trials(),
                crash::trials(),
                bad_input::trials(),
                exec::trials(),
                sweep::trials(),
            ];
            Ok(harness::run(arguments, trials.into_iter().flatten().collect()).exit_code())
        }
    }
}
