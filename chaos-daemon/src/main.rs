//! The node daemon. Everything is in the library.

use std::{ffi::OsString, process::ExitCode};

use clap::Parser as _;

/// Wrong usage, after `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = chaos_daemon::holder_main(&words) {
        return code;
    }
    let args = match chaos_daemon::args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    // Two threads are enough: the engine does its work on threads that may block.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(chaos_daemon::daemon::run(args)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos-daemon: {}", chaos_common::invalid::causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
