//! `file error`: whatever is done to files, by whatever way.

#[path = "file_error/containers.rs"]
mod containers;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::watch_event::Event;
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};

use crate::harness::{
    Agent, Mounted, Place, Stage, balanced, call, fails, files, needs_aspect, number, openat,
    openat_with, outcome, own_binary, reason_against, refused, skip, syscalls, tests, text, uring,
    works,
};
use crate::victim::{Arg, Deed, Entry};

const KIND: &str = "file error";
const PATIENCE: Duration = Duration::from_secs(10);

tests![
    each_operation_fails_alone,
    what_is_open_fails_too,
    running_a_program_is_not_reading_it,
    io_uring_is_no_way_round,
    nothing_is_made_where_making_fails,
    a_container_s_own_paths_count,
    below_an_overlay_a_call_is_asked_once,
    writing_back_fails_where_system_calls_can,
    where_the_kernel_lets_nobody_it_is_refused,
];

pub(crate) fn all_trials() -> Vec<Trial> {
    [trials(), containers::trials()].into_iter().flatten().collect()
}

/// Names of a folder of the test's own.
struct Names(String);

impl Names {
    fn new(stage: &Stage) -> Self {
        Self(stage.folder.path().to_string_lossy().into_owned())
    }

    fn of(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

/// Each operation, and a call that does it; what it needs is made before.
fn deeds(names: &Names) -> Result<Vec<(&'static str, Deed)>> {
    let make = |name: &str| -> Result<String> {
        let path = names.of(name);
        std::fs::write(&path, "text")?;
        Ok(path)
    };
    let folder = |name: &str| -> Result<String> {
        let path = names.of(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let mode = || number(0o700);
    Ok(vec![
        ("open", openat(&make("open")?)),
        ("create", openat_with(&names.of("create"), libc::O_CREAT | libc::O_WRONLY | libc::O_EXCL)),
        ("truncate", call(libc::SYS_truncate, [text(make("truncate")?), number(1)])),
        ("rename", call(libc::SYS_rename, [text(make("rename")?), text(names.of("renamed"))])),
        ("unlink", call(libc::SYS_unlink, [text(make("unlink")?)])),
        ("mkdir", call(libc::SYS_mkdir, [text(names.of("mkdir")), mode()])),
        ("rmdir", call(libc::SYS_rmdir, [text(folder("rmdir")?)])),
        ("link", call(libc::SYS_link, [text(make("link")?), text(names.of("linked"))])),
        ("symlink", call(libc::SYS_symlink, [text("anywhere"), text(names.of("symlink"))])),
        ("stat", call(libc::SYS_stat, [text(make("stat")?), Arg::Room(256)])),
        ("chmod", call(libc::SYS_chmod, [text(make("chmod")?), mode()])),
        ("chown", call(libc::SYS_chown, [text(make("chown")?), number(0), number(0)])),
    ])
}

fn each_operation_fails_alone() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let names = Names::new(&stage);
    let glob = names.of("**");
    for (operation, deed) in deeds(&names)? {
        if let Some(reason) = reason_against(&client, KIND, |aspect| aspect == operation)? {
            let refusal = client.inject(files(&[&glob], &[operation], "EIO").on(&stage.target));
            let status = refused(refusal, "UNSUPPORTED")?;
            ensure!(status.message().contains(operation), "{status:?} but {reason}");
            continue;
        }
        let injection = client.inject(files(&[&glob], &[operation], "EDQUOT").on(&stage.target))?;
        fails(&stage.victim, &deed, Errno::EDQUOT).context(operation)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1 && counters.matched == 1, "{operation}: {counters:?}");
        // Another's fault, and somebody else.
        let others = if operation == "lock" { "ioctl" } else { "lock" };
        let injection = client.inject(files(&[&glob], &[others], "EIO").on(&stage.target))?;
        works(&stage.victim, &deed).context(operation)?;
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_open_fails_too() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let names = Names::new(&stage);
    let path = names.of("data");
    std::fs::write(&path, "0123456789")?;
    let descriptor = |agent: &Agent| -> Result<i64> {
        outcome(agent, &openat_with(&path, libc::O_RDWR))?.context("the file does not open")
    };
    let (its, others) = (descriptor(&stage.victim)?, descriptor(&stage.bystander)?);
    let read = |fd| call(libc::SYS_pread64, [number(fd), Arg::Room(4), number(4), number(0)]);
    let write = |fd| {
        call(libc::SYS_pwrite64, [number(fd), Arg::Bytes(b"text".to_vec()), number(4), number(0)])
    };
    for (operation, deed) in [("read", &read as &dyn Fn(i64) -> Deed), ("write", &write)] {
        works(&stage.victim, &deed(its))?;
        let fault = files(&[&names.of("d*")], &[operation], "EIO").on(&stage.target);
        let injection = client.inject(fault)?;
        fails(&stage.victim, &deed(its), Errno::EIO)?;
        works(&stage.bystander, &deed(others))?;
        let other = if operation == "read" { write(its) } else { read(its) };
        works(&stage.victim, &other)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1 && counters.matched == 1, "{operation}: {counters:?}");
        works(&stage.victim, &deed(its))?;
    }
    for (agent, descriptor) in [(&stage.victim, its), (&stage.bystander, others)] {
        works(agent, &call(libc::SYS_close, [number(descriptor)]))?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn running_a_program_is_not_reading_it() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let program = own_binary()?.to_string_lossy().into_owned();
    let injection = client.inject(files(&[&program], &["read"], "EIO").on(&stage.target))?;
    let agent = Agent::start(Place::default().cgroup(&stage.target)?)?;
    let descriptor = outcome(&agent, &openat(&program))?.context("the program does not open")?;
    let read = call(libc::SYS_pread64, [number(descriptor), Arg::Room(4), number(4), number(0)]);
    fails(&agent, &read, Errno::EIO)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 1, "{counters:?}");
    drop(agent);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn io_uring_is_no_way_round() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let names = Names::new(&stage);
    let path = names.of("data");
    std::fs::write(&path, "0123456789")?;
    let descriptor = outcome(&stage.victim, &openat_with(&path, libc::O_RDWR))?.context("open")?;
    let deeds = |entry| {
        let by_ring = |number, args| Deed { entry, number, args };
        let here = number(libc::AT_FDCWD);
        [
            ("open", by_ring(uring::OPENAT, vec![here, text(&path), number(0)])),
            ("read", by_ring(uring::READ, vec![number(descriptor), Arg::Room(4), number(4)])),
            ("write", by_ring(uring::WRITE, vec![number(descriptor), Arg::Room(4), number(4)])),
        ]
    };
    if let Err(error) = stage.victim.deed(&deeds(Entry::Uring)[1].1) {
        stage.finish(daemon)?;
        return skip(format!("{error:#}"));
    }
    let entries = [Entry::Uring, Entry::UringWorker, Entry::UringPoller];
    for (operation, deed) in entries.into_iter().flat_map(deeds) {
        let fault = files(&[&path], &[operation], "EIO").on(&stage.target);
        let injection = client.inject(fault)?;
        fails(&stage.victim, &deed, Errno::EIO)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1 && counters.matched == 1, "{deed:?}: {counters:?}");
        works(&stage.victim, &deed)?;
    }
    // Whoever does it is of the process and runs its program; the ring's own threads have names of their own.
    let pid = stage.victim.pid();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let watcher = daemon.client()?;
    let mut watch = watcher.watch("")?;
    let fault = || files(&[&path], &["read"], "EIO");
    for entry in entries {
        let read = &deeds(entry)[1].1;
        let injection = client.inject(fault().exe(&program).on(&stage.target))?;
        fails(&stage.victim, read, Errno::EIO)?;
        let who = watch.find("a firing", PATIENCE, |event| match event {
            Event::Firing(firing) if firing.id == injection.id => firing.process,
            Event::Firing(_) | Event::Changed(_) | Event::Missed(_) => None,
        })?;
        ensure!(who.pid == pid, "{entry:?}: {who:?}");
        client.recover(&injection.id)?;
    }
    drop(watch);
    // The kernel may hand on to a worker what the process itself was to do.
    for (name, entry, is_met) in [
        (name.trim_end(), Entry::UringWorker, false),
        (name.trim_end(), Entry::UringPoller, false),
        (&format!("iou-wrk-{pid}"), Entry::UringWorker, true),
    ] {
        let injection = client.inject(fault().comm(name).on(&stage.target))?;
        let read = &deeds(entry)[1].1;
        if is_met {
            fails(&stage.victim, read, Errno::EIO)?;
        } else {
            works(&stage.victim, read)?;
        }
        client.recover(&injection.id)?;
    }
    works(&stage.victim, &call(libc::SYS_close, [number(descriptor)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn nothing_is_made_where_making_fails() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "create")?;
    let names = Names::new(&stage);
    let path = names.of("new");
    let create = openat_with(&path, libc::O_CREAT | libc::O_WRONLY);
    // Together they are asked once about a file that is not there yet.
    let fault = files(&[&path], &["open", "create"], "ENOSPC").times(1).on(&stage.target);
    let injection = client.inject(fault)?;
    fails(&stage.victim, &create, Errno::ENOSPC)?;
    ensure!(!std::path::Path::new(&path).exists(), "{path} was made all the same");
    works(&stage.victim, &create)?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 2 && counters.fired == 1, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_container_s_own_paths_count() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let names = Names::new(&stage);
    let root = stage.folder.path().join("root");
    std::fs::create_dir_all(root.join("data/deep"))?;
    std::fs::write(root.join("data/deep/file"), "text")?;
    std::fs::write(root.join("data/other"), "text")?;
    // One that leads out of the container, if it were followed from outside.
    std::os::unix::fs::symlink("/data/deep/file", root.join("link"))?;
    let inside = Agent::start(Place::default().cgroup(&stage.target)?)?;
    inside.chroot(&root)?;
    let injection = client.inject(files(&["/data/deep/*"], &["open"], "EIO").on(&stage.target))?;
    fails(&inside, &openat("/data/deep/file"), Errno::EIO)?;
    fails(&inside, &openat("/data/../data/deep/file"), Errno::EIO)?;
    fails(&inside, &openat("/link"), Errno::EIO)?;
    works(&inside, &openat("/data/other"))?;
    // The same file by the path that it has outside.
    works(&stage.victim, &openat(&names.of("root/data/deep/file")))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.matched == 3, "{counters:?}");
    works(&inside, &openat("/link"))?;
    drop(inside);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn below_an_overlay_a_call_is_asked_once() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let folder = stage.folder.path();
    let ground = Mounted::new("tmpfs", &folder.join("ground"), "")?;
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir_all(ground.path().join(name))?;
    }
    std::fs::write(ground.path().join("lower/file"), "0123456789")?;
    let at = |name: &str| ground.path().join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", at("lower"), at("upper"), at("work"));
    let merged = match Mounted::new("overlay", &folder.join("merged"), &options) {
        Ok(merged) => merged,
        Err(error) => {
            stage.finish(daemon)?;
            return skip(format!("no overlay here: {error:#}"));
        }
    };
    // Processes that live since before the mount see it too: it is the same tree of mounts.
    let path = merged.path().join("file").to_string_lossy().into_owned();
    let victim = Agent::start(Place::default().cgroup(&stage.target)?)?;
    let descriptor = outcome(&victim, &openat(&path))?.context("open")?;
    let read = call(libc::SYS_pread64, [number(descriptor), Arg::Room(4), number(4), number(0)]);
    let stat = call(libc::SYS_stat, [text(&path), Arg::Room(256)]);
    for (operation, deed) in [("open", openat(&path)), ("read", read), ("stat", stat)] {
        let fault = files(&[&path, "/file"], &[operation], "EIO").skip(1).on(&stage.target);
        let injection = client.inject(fault)?;
        works(&victim, &deed).context(operation)?;
        fails(&victim, &deed, Errno::EIO).context(operation)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == 2, "{operation}: {counters:?}");
    }
    // Wherever it is, and of what has no path as well: the victim hears by a pipe.
    let stat = call(libc::SYS_stat, [text(&path), Arg::Room(256)]);
    let pipe = call(libc::SYS_fstat, [number(0), Arg::Room(256)]);
    for deed in [stat, pipe] {
        let injection = client.inject(syscalls(&["stat"], "EIO").skip(1).on(&stage.target))?;
        works(&victim, &deed)?;
        fails(&victim, &deed, Errno::EIO)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == 2, "{deed:?}: {counters:?}");
    }
    drop(victim);
    drop(merged);
    drop(ground);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn writing_back_fails_where_system_calls_can() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let names = Names::new(&stage);
    let path = names.of("data");
    std::fs::write(&path, "text")?;
    let fault = || files(&[&names.of("*")], &["fsync"], "EIO").on(&stage.target);
    if let Some(reason) = reason_against(&client, KIND, |aspect| aspect == "fsync")? {
        let status = refused(client.inject(fault()), "UNSUPPORTED")?;
        ensure!(status.message().contains("fsync"), "{status:?} but {reason}");
        return stage.finish(daemon);
    }
    let descriptor = outcome(&stage.victim, &openat_with(&path, libc::O_RDWR))?.context("open")?;
    let injection = client.inject(fault())?;
    for number_of in [libc::SYS_fsync, libc::SYS_fdatasync] {
        let deed = call(number_of, [number(descriptor)]);
        fails(&stage.victim, &deed, Errno::EIO)?;
    }
    client.recover(&injection.id)?;
    works(&stage.victim, &call(libc::SYS_fsync, [number(descriptor)]))?;
    works(&stage.victim, &call(libc::SYS_close, [number(descriptor)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn where_the_kernel_lets_nobody_it_is_refused() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let attempt = client.inject(files(&["/**"], &["open"], "EIO").on(&stage.sibling));
    match reason_against(&client, KIND, |aspect| aspect == "open")? {
        None => drop(client.recover(&attempt?.id)?),
        Some(reason) => {
            let status = refused(attempt, "UNSUPPORTED")?;
            let said = reason.trim_start_matches("open: ");
            ensure!(status.message().contains(said), "{status:?} does not say {said}");
        }
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
