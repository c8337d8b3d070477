//! What the tests are made of. Guards own every kernel object: a test that fails leaves nothing.

mod agent;
mod calls;
mod capabilities;
mod cgroup;
mod chaos;
mod client;
mod container;
mod daemon;
mod flow;
mod group;
pub(crate) mod metrics;
mod name_server;
pub(crate) mod net;
mod netlink;
mod netns;
mod place;
pub(crate) mod poll;
mod program;
pub(crate) mod questions;
mod resident;
mod residue;
mod runner;
mod scratch;
pub(crate) mod skip;
mod spec;
mod stage;
mod tcp_info;
mod tier;
mod unit;

pub(crate) use agent::{Agent, Socket};
pub(crate) use calls::{
    Calls, call, fails, file_delay, files, is_open, memory, number, openat, openat_with, outcome,
    sockets, syscalls, syscalls_with, text, uring, ways_to_open, works,
};
pub(crate) use capabilities::say_capabilities;
pub(crate) use cgroup::{Cgroup, mount as cgroup_mount};
pub(crate) use chaos::{Output, chaos, chaos_to, finish, run as run_command, start};
pub(crate) use client::{Client, Watch, field, reason, refused};
pub(crate) use container::Container;
pub(crate) use daemon::{Daemon, Handover, LEASE, Settings};
pub(crate) use flow::{Connections, Datagrams, Probe, Round};
pub(crate) use group::TestGroup;
pub(crate) use name_server::NameServer;
pub(crate) use net::{Family, Net};
pub(crate) use netlink::{Netlink, Raw, attribute};
pub(crate) use netns::NetNs;
pub(crate) use place::Place;
pub(crate) use program::{
    Given, ROOT as PROGRAMS, Server, begin, disk_folder, needs_programs, own_command, program,
    run_to_end, succeeds,
};
use resident::Resident;
pub(crate) use residue::{Observed, Pins, check_pins};
pub(crate) use runner::{run, tests, trial};
pub(crate) use scratch::{Mounted, Scratch, own_mounts};
pub(crate) use skip::{Skip, skip};
pub(crate) use spec::{Loss, Network, delay, wire};
pub(crate) use stage::{
    Stage, Transport, active, balanced, caveats, mechanism, needs, needs_aspect, phases,
    reason_against, same,
};
pub(crate) use tcp_info::{Info as TcpInfoOf, TcpInfo};
pub(crate) use tier::{Tier, holds_in_memory, under_tap};
pub(crate) use unit::{Capability, Unit};

use std::{os::unix::process::ExitStatusExt as _, path::PathBuf, process::Child, time::Duration};

use anyhow::{Context as _, Result, ensure};

/// This very program.
pub(crate) fn own_binary() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the own program")
}

/// A program of the project: beside this one, or in the folder that `CHAOS_TEST_BIN` names.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os("CHAOS_TEST_BIN") {
        Some(folder) => PathBuf::from(folder),
        None => own_binary()?.parent().context("this program lies in no folder")?.to_owned(),
    };
    let path = folder.join(name);
    ensure!(path.exists(), "there is no {}; build it, or set CHAOS_TEST_BIN", path.display());
    Ok(path)
}

/// Waits for the end of a process: its exit code, or 128 + the signal that killed it.
pub(crate) fn exit_code(child: &mut Child, within: Duration) -> Result<i32> {
    let status = poll::until("a process to end", within, || Ok(child.try_wait()?))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.context("a process ended without a status")
}
