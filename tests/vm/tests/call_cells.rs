//! Every fault of calls, whoever of the target's processes it meets: however they came to be in the cgroup, wherever
//! below it, and with whatever mounts.

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};

use crate::harness::{
    Agent, Cgroup, Client, Container, Place, Stage, Tier, active, balanced, call, fails, files,
    mechanism, memory, needs_aspect, number, openat, own_command, skip, sockets, syscalls_with,
    text, trial, works,
};
use crate::victim::{Arg, Deed};

/// As much as nobody asks for by the way.
const MUCH: i64 = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Syscall,
    File,
    Socket,
    Memory,
}

pub(crate) fn trials() -> Vec<Trial> {
    [Fault::Syscall, Fault::File, Fault::Socket, Fault::Memory].map(Fault::trial).into()
}

/// Once more by `bpf_override_return`, where a kernel has it, whatever else it has.
pub(crate) fn overriding() -> Vec<Trial> {
    vec![Fault::Syscall.trial()]
}

impl Fault {
    fn trial(self) -> Trial {
        trial(module_path!(), &format!("{self:?}").to_lowercase(), move || cells(self))
    }

    /// Its kind, and what of it this is about.
    const fn aspect(self) -> (&'static str, &'static str) {
        match self {
            Self::Syscall => ("syscall error", "open"),
            Self::File => ("file error", "stat"),
            Self::Socket => ("socket error", "socket"),
            Self::Memory => ("memory error", "allocate"),
        }
    }

    fn on(self, cgroup: &Cgroup) -> v1::Spec {
        let calls = match self {
            Self::Syscall => syscalls_with(&["open"], "EDQUOT", |error| {
                error.paths = vec!["**/marked".into()];
            }),
            Self::File => files(&["**/marked"], &["stat"], "EDQUOT"),
            Self::Socket => sockets(&["socket"], "EDQUOT", |error| {
                error.families = vec!["unix".into()];
            }),
            Self::Memory => memory("allocate", Some(MUCH as u64)),
        };
        calls.on(cgroup)
    }

    /// A call that it meets, about a file of this name.
    fn deed(self, marked: &str) -> Deed {
        match self {
            Self::Syscall => openat(marked),
            Self::File => call(libc::SYS_stat, [text(marked), Arg::Room(256)]),
            Self::Socket => call(
                libc::SYS_socket,
                [number(libc::AF_UNIX), number(libc::SOCK_STREAM), number(0)],
            ),
            Self::Memory => {
                let access = number(libc::PROT_READ | libc::PROT_WRITE);
                let kind = number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                call(libc::SYS_mmap, [number(0), number(MUCH), access, kind, number(-1), number(0)])
            }
        }
    }

    const fn errno(self) -> Errno {
        match self {
            Self::Syscall | Self::File | Self::Socket => Errno::EDQUOT,
            Self::Memory => Errno::ENOMEM,
        }
    }
}

fn cells(fault: Fault) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let (kind, aspect) = fault.aspect();
    let mechanism = mechanism(&client, kind, aspect)?;
    if Tier::here() == Tier::Override && !mechanism.contains("bpf_override_return") {
        stage.finish(daemon)?;
        return skip(mechanism);
    }
    needs_aspect(&client, kind, aspect)?;
    all_of_a_target(&stage, &client, fault)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn all_of_a_target(stage: &Stage, client: &Client, fault: Fault) -> Result<()> {
    let marked = stage.folder.path().join("marked");
    std::fs::write(&marked, "text")?;
    let container = Container::new(&stage.folder.path().join("container"))?;
    std::fs::write(container.volume().join("marked"), "text")?;
    let (outside, inside) = (fault.deed(&marked.display().to_string()), fault.deed("/data/marked"));
    let nested = stage.target.child("nested")?;
    let deeper = nested.child("deeper")?;
    let start = |cgroup| Agent::start(Place::default().cgroup(cgroup)?);
    let parent = || Agent::over(own_command(Place::default().cgroup(&stage.target)?, &["parent"])?);

    // Those that are there when the fault begins, and those that come while it is there.
    let mut all = vec![
        ("in a nested cgroup", start(&nested)?, &outside),
        ("a child that runs a program", parent()?, &outside),
        ("the container's first", container.agent(&stage.target)?, &inside),
    ];
    let neighbour = container.agent(&stage.sibling)?;
    for (who, agent, deed) in &all {
        works(agent, deed).with_context(|| format!("{who}, before"))?;
    }
    let injection = client.inject(fault.on(&stage.target))?;
    active(&injection)?;
    all.extend([
        ("born in a cgroup within the nested one", start(&deeper)?, &outside),
        ("a child that came to run a program", parent()?, &outside),
        ("one that joined the container", container.agent(&nested)?, &inside),
    ]);
    let errno = fault.errno();
    fails(&stage.victim, &outside, errno).context("the victim")?;
    for (who, agent, deed) in &all {
        fails(agent, deed, errno).with_context(|| (*who).to_owned())?;
    }
    works(&stage.bystander, &outside).context("the bystander")?;
    works(&neighbour, &inside).context("the bystander in the container")?;
    // One that comes, and goes again.
    for (cgroup, is_hit) in [(&stage.target, true), (&deeper, true), (&stage.sibling, false)] {
        cgroup.adopt(stage.bystander.pid())?;
        if is_hit {
            fails(&stage.bystander, &outside, errno).context("moved in")?;
        } else {
            works(&stage.bystander, &outside).context("moved out")?;
        }
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    let hits = all.len() as u64 + 3;
    ensure!(counters.fired == hits && counters.matched == hits, "{counters:?}, not {hits}");
    for (who, agent, deed) in &all {
        works(agent, deed).with_context(|| format!("{who}, afterwards"))?;
    }
    drop(all);
    deeper.remove()?;
    nested.remove()
}
