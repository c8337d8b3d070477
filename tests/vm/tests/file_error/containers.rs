//! Paths in a container with mounts of its own, and links and mounts in it that mean no good.

use std::slice::from_ref;

use anyhow::{Context as _, Result, ensure};
use nix::{errno::Errno, libc};

use super::KIND;
use crate::harness::{
    Agent, Client, Container, Place, Stage, balanced, call, fails, files, needs_aspect, number,
    openat, openat_with, outcome, tests, text, works,
};
use crate::victim::{Arg, Deed};

tests![
    every_way_to_a_volume_is_met,
    links_lead_to_where_they_lead,
    paths_of_the_host_are_others,
    what_is_mounted_elsewhere_is_elsewhere,
    what_is_outside_has_its_path_outside,
];

fn symlink(to: &str, at: &str) -> Deed {
    call(libc::SYS_symlink, [text(to), text(at)])
}

fn mkdir(at: &str) -> Deed {
    call(libc::SYS_mkdir, [text(at), number(0o755)])
}

fn mount(from: &str, to: &str, flags: u64) -> Deed {
    call(libc::SYS_mount, [text(from), text(to), number(0), number(flags as i64), number(0)])
}

fn read(descriptor: i64) -> Deed {
    call(libc::SYS_pread64, [number(descriptor), Arg::Room(64), number(64), number(0)])
}

fn beside(directory: i64, path: &str) -> Deed {
    call(libc::SYS_openat, [number(directory), text(path), number(0)])
}

fn opened(agent: &Agent, path: &str, flags: i32) -> Result<i64> {
    outcome(agent, &openat_with(path, flags))?.with_context(|| format!("cannot open {path}"))
}

/// Each of these calls fails, and counts once; each of those works, and does not count.
fn only(
    stage: &Stage,
    client: &Client,
    (path, operation): (&str, &str),
    met: &[(&Agent, Deed)],
    free: &[(&Agent, Deed)],
) -> Result<()> {
    for (agent, deed) in met.iter().chain(free) {
        works(agent, deed).context("without a fault")?;
    }
    let injection = client.inject(files(&[path], &[operation], "EIO").on(&stage.target))?;
    for (agent, deed) in met {
        fails(agent, deed, Errno::EIO).with_context(|| path.to_owned())?;
    }
    for (agent, deed) in free {
        works(agent, deed).with_context(|| path.to_owned())?;
    }
    let counters = balanced(&client.recover(&injection.id)?)?;
    let hits = met.len() as u64;
    ensure!(counters.fired == hits && counters.matched == hits, "{path}: {counters:?}, not {hits}");
    met.iter().try_for_each(|(agent, deed)| works(agent, deed))
}

/// Two containers that are alike: one's processes are the target's, the other's are not.
fn with_two(test: fn(&Stage, &Client, &Container, [&Agent; 2]) -> Result<()>) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let (one, two) = (
        Container::new(&stage.folder.path().join("one"))?,
        Container::new(&stage.folder.path().join("two"))?,
    );
    let (inside, other) = (one.agent(&stage.target)?, two.agent(&stage.sibling)?);
    test(&stage, &client, &one, [&inside, &other])?;
    drop((inside, other));
    drop((one, two));
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn every_way_to_a_volume_is_met() -> Result<()> {
    with_two(|stage, client, container, [inside, other]| {
        works(inside, &call(libc::SYS_chdir, [text("/data")]))?;
        let directory = opened(inside, "/data", libc::O_DIRECTORY)?;
        let through = format!("/proc/self/fd/{directory}/file");
        let joined = container.agent(&stage.target)?;
        let met = [
            (&joined, openat("/data/file")),
            (inside, openat("/data/file")),
            (inside, openat("/data/../data//./file")),
            (inside, openat("/../../data/file")),
            (inside, openat("/proc/self/root/data/file")),
            (inside, openat("/proc/self/root/../proc/self/root/data/file")),
            (inside, openat("/proc/self/cwd/file")),
            (inside, openat(&through)),
            (inside, openat("file")),
            (inside, openat("../data/file")),
            (inside, beside(directory, "file")),
            (inside, beside(directory, "../data/file")),
        ];
        let neighbour = container.agent(&stage.sibling)?;
        let free = [
            (inside, openat("/etc/file")),
            (other, openat("/data/file")),
            (&neighbour, openat("/data/file")),
        ];
        only(stage, client, ("/data/**", "open"), &met, &free)
    })
}

fn links_lead_to_where_they_lead() -> Result<()> {
    with_two(|stage, client, container, [inside, other]| {
        std::fs::create_dir(container.volume().join("deep"))?;
        let (mut met, mut free) = (Vec::new(), Vec::new());
        for (to, at, is_met) in [
            // Out of the volume, as far as the container's root and not further.
            ("../etc/file", "/data/out", false),
            ("../../../../../../etc/file", "/data/deep/far", false),
            ("/etc/file", "/data/away", false),
            ("/proc/self/root/etc/file", "/data/deep/root", false),
            // And in.
            ("/data/file", "/etc/in", true),
            ("../../../../data/file", "/etc/up", true),
            ("/proc/self/root/../data/file", "/etc/root", true),
            ("/data/deep/round", "/etc/first", true),
            ("../../etc/in", "/data/deep/round", true),
        ] {
            works(inside, &symlink(to, at))?;
            if is_met { &mut met } else { &mut free }.push((inside, openat(at)));
        }
        free.push((other, openat("/data/file")));
        only(stage, client, ("/data/**", "open"), &met, &free)
    })
}

fn paths_of_the_host_are_others() -> Result<()> {
    with_two(|stage, client, container, [inside, _]| {
        let volume = container.volume().display().to_string();
        let (host, own) = (openat(&format!("{volume}/file")), openat("/data/file"));
        only(
            stage,
            client,
            ("/data/**", "open"),
            &[(inside, own.clone())],
            &[(&stage.bystander, host.clone())],
        )?;
        // A process of the target outside of the container, and by its own words.
        let victim = Agent::start(Place::default().cgroup(&stage.target)?)?;
        only(
            stage,
            client,
            (&format!("{volume}/**"), "open"),
            &[(&victim, host.clone())],
            &[(inside, own.clone()), (&stage.bystander, host.clone())],
        )?;
        only(stage, client, ("/data/**", "open"), &[(inside, own)], &[(&victim, host)])
    })
}

fn what_is_mounted_elsewhere_is_elsewhere() -> Result<()> {
    with_two(|stage, client, _, [inside, _]| {
        let descriptor = opened(inside, "/data/file", libc::O_RDONLY)?;
        for folder in ["/alias", "/moved", "/data/deep"] {
            works(inside, &mkdir(folder))?;
        }
        works(inside, &mount("/data", "/alias", libc::MS_BIND))?;
        works(inside, &call(libc::SYS_mknod, [text("/data/deep/cover"), number(0o100_644)]))?;
        works(inside, &mount("/etc/file", "/data/deep/cover", libc::MS_BIND))?;
        let (data, alias) = (openat("/data/file"), openat("/alias/file"));
        let cover = openat("/data/deep/cover");
        only(
            stage,
            client,
            ("/data/**", "open"),
            &[(inside, data.clone()), (inside, cover)],
            &[(inside, alias.clone()), (inside, openat("/etc/file"))],
        )?;
        only(stage, client, ("/alias/**", "open"), &[(inside, alias)], &[(inside, data)])?;
        // What is open goes where its mount goes.
        let open = (inside, read(descriptor));
        only(stage, client, ("/data/*", "read"), from_ref(&open), &[])?;
        works(inside, &mount("/data", "/moved", libc::MS_MOVE))?;
        only(stage, client, ("/moved/*", "read"), from_ref(&open), &[])?;
        only(stage, client, ("/data/*", "read"), &[], from_ref(&open))?;
        // And has no path any more where it is gone.
        let unmount = |at| call(libc::SYS_umount2, [text(at), number(libc::MNT_DETACH)]);
        works(inside, &unmount("/moved"))?;
        only(stage, client, ("/**", "read"), &[], &[open])
    })
}

fn what_is_outside_has_its_path_outside() -> Result<()> {
    with_two(|stage, client, container, _| {
        let outside = stage.folder.path().join("outside");
        let root = container.volume();
        std::fs::create_dir_all(&outside)?;
        std::fs::write(outside.join("file"), "text")?;
        let leaked = Agent::start(Place::default().cgroup(&stage.target)?)?;
        let path = outside.display().to_string();
        let directory = opened(&leaked, &path, libc::O_DIRECTORY)?;
        leaked.chroot(&root)?;
        let deed = beside(directory, "file");
        // Not from its own root on, where it is not.
        only(stage, client, ("/file", "open"), &[], &[(&leaked, deed.clone())])?;
        only(stage, client, (&format!("{path}/*"), "open"), &[(&leaked, deed)], &[])
    })
}
