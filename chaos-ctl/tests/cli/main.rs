//! The command line as a person or a script meets it: the real program against a daemon that only
//! plays one.
//!
//! What it says is compared with the files in `snapshots`; `SNAPSHOTS=overwrite` writes them anew.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod chaos;
mod connection;
mod daemon;
mod exec;
mod files;
mod help;
mod many;
mod streams;
mod usage;
