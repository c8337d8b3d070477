//! Shows the main job on real traffic: an HTTP server and its client in a cgroup lose 30 % of what they send,
//! the same pair beside it loses nothing, the deadline ends the fault, and nothing is left.
//!
//! It touches only what it makes: a network namespace, a mount namespace, two cgroups and a folder. The fault is
//! put by the real `chaos-daemon` and the real `chaos`, which lie beside this program.

#![forbid(unsafe_code)]

mod cgroup;
mod chaos;
mod child;
mod clock;
mod daemon;
mod error;
mod interrupt;
mod mount;
mod netns;
mod pair;
mod phase;
mod play;
mod residue;
mod role;
mod stage;
mod stats;
mod tc;
mod verdict;
mod view;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::Failure;

/// Shows one fault, on real traffic, from injection to the last trace of it.
#[derive(Parser)]
#[command(name = "chaos-demo", version)]
struct Args {
    #[command(flatten)]
    play: play::Options,
    #[command(subcommand)]
    role: Option<Role>,
}

/// The other processes of the demo.
#[derive(Subcommand)]
enum Role {
    /// Answers HTTP requests.
    #[command(hide = true)]
    Serve(role::serve::Options),
    /// Sends HTTP requests at a fixed rate.
    #[command(hide = true)]
    Load(role::load::Options),
    /// Becomes another program that ends when the demo ends.
    #[command(hide = true)]
    Become(role::r#become::Options),
}

fn main() -> ExitCode {
    let Args { play, role } = Args::parse();
    let result = match role {
        Some(Role::Serve(options)) => role::serve::run(&options).map_err(Failure::from),
        Some(Role::Load(options)) => role::load::run(&options).map_err(Failure::from),
        Some(Role::Become(options)) => role::r#become::run(&options).map_err(Failure::from),
        None => play::run(&play),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("chaos-demo: {message}");
            }
            ExitCode::from(failure.code())
        }
    }
}
