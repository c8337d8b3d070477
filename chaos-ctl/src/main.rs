//! `chaos`: breaks a container, unit or process of this host for a while, through the node daemon.
//!
//! Exit codes: 0 done, 1 failed, 2 done in part, 3 a sweep found something, 64 usage. The same program installed as
//! `kubectl-chaos` is the plugin `kubectl chaos`.
#![deny(unsafe_code)]

mod app;
mod args;
mod call;
mod client;
mod error;
mod exec;
mod fault;
mod file;
mod id;
mod life;
mod outcome;
mod output;
mod sweep;
mod target;
mod verb;

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = exec::held(&words).or_else(|| chaos_daemon::holder_main(&words)) {
        return code;
    }
    let format = args::format_of(&words);
    match args::parse(words) {
        Ok((verb, app)) => {
            let format = app.out.format();
            verb::run(verb, app).unwrap_or_else(|error| error::report(&error, format))
        }
        Err(error) => args::report(&error, format),
    }
}
