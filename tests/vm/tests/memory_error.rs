//! `memory error`: there is none left.

use anyhow::{Context as _, Result, ensure};
use nix::{errno::Errno, libc};

use crate::harness::{
    Stage, balanced, call, fails, memory, needs_aspect, number, openat, outcome, tests, works,
};
use crate::victim::{Arg, Deed};

const KIND: &str = "memory error";

tests![there_is_no_more_memory, there_are_no_more_processes, there_are_no_more_descriptors,];

/// Private memory of a size.
fn map(size: i64) -> Deed {
    let access = number(libc::PROT_READ | libc::PROT_WRITE);
    let kind = number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    call(libc::SYS_mmap, [number(0), number(size), access, kind, number(-1), number(0)])
}

fn there_is_no_more_memory() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "allocate")?;
    const MIB: i64 = 1 << 20;
    let here = outcome(&stage.victim, &map(MIB))?.context("no memory")?;
    let injection = client.inject(memory("allocate", Some(MIB as u64)).on(&stage.target))?;
    fails(&stage.victim, &map(MIB), Errno::ENOMEM)?;
    fails(&stage.victim, &map(64 * MIB), Errno::ENOMEM)?;
    works(&stage.victim, &map(MIB / 2))?;
    works(&stage.bystander, &map(MIB))?;
    let grow =
        call(libc::SYS_mremap, [number(here), number(MIB), number(4 * MIB), number(1), number(0)]);
    fails(&stage.victim, &grow, Errno::ENOMEM)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3, "{counters:?}");
    works(&stage.victim, &map(MIB))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn there_are_no_more_processes() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "fork")?;
    let injection = client.inject(memory("fork", None).on(&stage.target))?;
    // What would come of it if it worked: two processes that answer. So only what fails is tried.
    fails(&stage.victim, &call(libc::SYS_fork, []), Errno::EAGAIN)?;
    fails(&stage.victim, &call(libc::SYS_vfork, []), Errno::EAGAIN)?;
    ensure!(
        stage.victim.repeat(&openat("/"), 2, 1, true).is_err(),
        "the victim begins threads all the same"
    );
    stage.bystander.repeat(&openat("/"), 2, 1, true)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired >= 3, "{counters:?}");
    stage.victim.repeat(&openat("/"), 2, 1, true)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn there_are_no_more_descriptors() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "descriptor")?;
    let deeds = [
        openat("/"),
        call(libc::SYS_socket, [number(libc::AF_INET), number(libc::SOCK_STREAM), number(0)]),
        call(libc::SYS_pipe2, [Arg::Room(8), number(0)]),
        call(libc::SYS_epoll_create1, [number(0)]),
        call(libc::SYS_eventfd2, [number(0), number(0)]),
    ];
    let injection = client.inject(memory("descriptor", None).on(&stage.target))?;
    for deed in &deeds {
        fails(&stage.victim, deed, Errno::EMFILE)?;
    }
    works(&stage.bystander, &openat("/"))?;
    client.recover(&injection.id)?;
    for deed in &deeds {
        ensure!(outcome(&stage.victim, deed)?.is_ok(), "{deed:?} fails still");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
