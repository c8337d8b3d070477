//! `file delay`: what is done to files waits, by whatever way, and never for ever.

#[path = "file_delay/ending.rs"]
mod ending;
#[path = "file_delay/holder.rs"]
mod holder;

pub(crate) use ending::{HOUR, while_waiting};

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{firing::What, watch_event::Event};
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};

use crate::harness::{
    Agent, Client, Daemon, Mounted, Place, Settings, Stage, active, balanced, call, chaos,
    disk_folder, fails, file_delay, files, is_open, needs_aspect, number, openat, openat_with,
    outcome, own_binary, poll, reason_against, refused, skip, tests, text, uring, wire, works,
};
use crate::victim::{Arg, Deed, Entry};

const KIND: &str = "file delay";
/// Longer than a slow machine takes for a call that does not wait.
pub(crate) const LATENCY: Duration = Duration::from_millis(700);
/// How late that may be on a slow machine.
const SLACK: Duration = Duration::from_secs(3);
/// Longer than a stuck process of the daemon's lives.
const SOON: Duration = Duration::from_secs(30);

tests![
    opening_waits,
    reading_waits,
    running_a_program_does_not_wait,
    writing_waits_where_the_kernel_asks,
    what_is_made_waits_too,
    directories_that_come_later_are_noticed,
    a_container_s_own_mounts_are_watched,
    io_uring_waits_too,
    it_strays_as_far_as_asked,
    a_budget_is_exact,
    what_fails_does_not_wait,
    of_two_on_one_call_the_longer_counts,
    what_nobody_was_asked_about_is_forgotten,
    a_command_of_chaos_exec_waits,
    a_firing_says_how_long,
];

pub(crate) fn all_trials() -> Vec<Trial> {
    [trials(), ending::trials(), holder::trials()].into_iter().flatten().collect()
}

/// How long a call takes that works.
fn time(agent: &Agent, deed: &Deed) -> Result<Duration> {
    let begin = Instant::now();
    let came = outcome(agent, deed)?;
    let time = begin.elapsed();
    let result = came.with_context(|| format!("{deed:?}"))?;
    if is_open(deed) {
        works(agent, &call(libc::SYS_close, [number(result)]))?;
    }
    Ok(time)
}

pub(crate) fn late(agent: &Agent, deed: &Deed) -> Result<()> {
    let time = time(agent, deed)?;
    ensure!(time >= LATENCY, "{deed:?} took {time:?} only");
    ensure!(time < LATENCY + SLACK, "{deed:?} took {time:?}");
    Ok(())
}

pub(crate) fn soon(agent: &Agent, deed: &Deed) -> Result<()> {
    let time = time(agent, deed)?;
    ensure!(time < LATENCY, "{deed:?} took {time:?}");
    Ok(())
}

fn file(stage: &Stage, name: &str) -> Result<String> {
    let path = stage.folder.path().join(name);
    fs::write(&path, "0123456789")?;
    Ok(path.to_string_lossy().into_owned())
}

/// A stage with a daemon that serves other tests too, and a file.
fn served() -> Result<(Stage, Daemon, Client, String)> {
    let (stage, daemon) = Stage::served()?;
    with_file(stage, daemon)
}

/// The same with a daemon of the test's own.
fn alone(settings: Settings) -> Result<(Stage, Daemon, Client, String)> {
    let stage = Stage::new()?;
    let daemon = stage.daemon_with(settings)?;
    with_file(stage, daemon)
}

fn with_file(stage: Stage, daemon: Daemon) -> Result<(Stage, Daemon, Client, String)> {
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "data")?;
    Ok((stage, daemon, client, path))
}

fn opened(agent: &Agent, path: &str) -> Result<i64> {
    outcome(agent, &openat_with(path, libc::O_RDWR))?.context("the file does not open")
}

fn pread(descriptor: i64) -> Deed {
    call(libc::SYS_pread64, [number(descriptor), Arg::Room(4), number(4), number(0)])
}

fn pwrite(descriptor: i64) -> Deed {
    let data = Arg::Bytes(b"data".to_vec());
    call(libc::SYS_pwrite64, [number(descriptor), data, number(4), number(0)])
}

fn opening_waits() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let (path, other) = (file(&stage, "data")?, file(&stage, "other")?);
    let nested = stage.target.child("nested")?;
    let below = Agent::start(Place::default().cgroup(&nested)?)?;
    for (glob, others) in [
        (path.clone(), false),
        (path.replace("data", "da*"), false),
        (path.replace("data", "**"), true),
    ] {
        let fault = file_delay(&[&glob], &["open"], LATENCY, |_| {}).on(&stage.target);
        let injection = client.inject(fault)?;
        active(&injection)?;
        late(&stage.victim, &openat(&path)).context(glob)?;
        late(&below, &openat(&path))?;
        soon(&stage.bystander, &openat(&path))?;
        if !others {
            soon(&stage.victim, &openat(&other))?;
        }
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == 2 && counters.fired == 2, "{counters:?}");
        soon(&stage.victim, &openat(&path))?;
    }
    drop(below);
    drop(nested);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn reading_waits() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let path = file(&stage, "data")?;
    let fault = file_delay(&[&path], &["read"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    // Newer kernels ask only about files that were opened when somebody watched.
    let (its, others) = (opened(&stage.victim, &path)?, opened(&stage.bystander, &path)?);
    soon(&stage.victim, &openat(&path))?;
    late(&stage.victim, &pread(its))?;
    soon(&stage.victim, &pwrite(its))?;
    soon(&stage.bystander, &pread(others))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 1, "{counters:?}");
    soon(&stage.victim, &pread(its))?;
    works(&stage.victim, &call(libc::SYS_close, [number(its)]))?;
    works(&stage.bystander, &call(libc::SYS_close, [number(others)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The kernel reads how the program begins, and asks about that too.
fn running_a_program_does_not_wait() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let program = own_binary()?.to_string_lossy().into_owned();
    let fault = file_delay(&[&program], &["read"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    let agent = Agent::start(Place::default().cgroup(&stage.target)?)?;
    let descriptor = outcome(&agent, &openat(&program))?.context("the program does not open")?;
    late(&agent, &pread(descriptor))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 1 && counters.fired == 1, "{counters:?}");
    drop(agent);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Where it does not, that is said; where a file system does not go along, too.
fn writing_waits_where_the_kernel_asks() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let fault = |path: &str| file_delay(&[path], &["write"], LATENCY, |_| {}).on(&stage.target);
    if let Some(reason) = reason_against(&client, KIND, |aspect| aspect == "write")? {
        let status = refused(client.inject(fault(&path)), "UNSUPPORTED")?;
        ensure!(status.message().contains("write: "), "{status:?} but {reason}");
        return stage.finish(daemon);
    }
    let elsewhere = Mounted::new("tmpfs", &stage.folder.path().join("elsewhere"), "")?;
    let on_tmpfs = elsewhere.path().join("file");
    fs::write(&on_tmpfs, "text")?;
    let refusal = client.inject(fault(&on_tmpfs.to_string_lossy()));
    let said = format!("{:?}", refusal.err().context("writes to a tmpfs are held")?);
    ensure!(said.contains("tmpfs") && said.contains("leave out `write`"), "{said}");
    drop(elsewhere);
    let disk = disk_folder()?;
    let path = disk.path().join("file").to_string_lossy().into_owned();
    fs::write(&path, "0123456789")?;
    let injection = client.inject(fault(&path))?;
    let (its, others) = (opened(&stage.victim, &path)?, opened(&stage.bystander, &path)?);
    late(&stage.victim, &pwrite(its))?;
    soon(&stage.victim, &pread(its))?;
    soon(&stage.bystander, &pwrite(others))?;
    client.recover(&injection.id)?;
    soon(&stage.victim, &pwrite(its))?;
    works(&stage.victim, &call(libc::SYS_close, [number(its)]))?;
    works(&stage.bystander, &call(libc::SYS_close, [number(others)]))?;
    drop(disk);
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_made_waits_too() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = stage.folder.path().join("new").to_string_lossy().into_owned();
    let fault = file_delay(&[&path], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    late(&stage.victim, &openat_with(&path, libc::O_CREAT | libc::O_WRONLY))?;
    late(&stage.victim, &openat(&path))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 2, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn directories_that_come_later_are_noticed() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let folder = stage.folder.path().join("a");
    fs::create_dir(&folder)?;
    let glob = folder.join("**").to_string_lossy().into_owned();
    let fault = file_delay(&[&glob], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    fs::create_dir(folder.join("b"))?;
    let path = file(&stage, "a/b/file")?;
    poll::until_ok("the directory to be noticed", SOON, || late(&stage.victim, &openat(&path)))?;
    soon(&stage.bystander, &openat(&path))?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// With other files below its own root than those of the same names outside.
fn a_container_s_own_mounts_are_watched() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let root = stage.folder.path().join("root");
    for folder in ["root/data/deep", "volume/deep"] {
        fs::create_dir_all(stage.folder.path().join(folder))?;
    }
    file(&stage, "volume/deep/file")?;
    file(&stage, "root/other")?;
    let place = |cgroup| Place::default().cgroup(cgroup).map(Place::own_mounts);
    let (inside, neighbour) =
        (Agent::start(place(&stage.target)?)?, Agent::start(place(&stage.sibling)?)?);
    for agent in [&inside, &neighbour] {
        let bind = call(
            libc::SYS_mount,
            [
                text(stage.folder.path().join("volume").to_string_lossy()),
                text(root.join("data").to_string_lossy()),
                number(0),
                number(libc::MS_BIND as i64),
                number(0),
            ],
        );
        works(agent, &bind)?;
        agent.chroot(&root)?;
    }
    let fault = file_delay(&["/data/**"], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    late(&inside, &openat("/data/deep/file"))?;
    late(&inside, &openat("/data/../data/deep/file"))?;
    soon(&inside, &openat("/other"))?;
    soon(&neighbour, &openat("/data/deep/file"))?;
    let outside = stage.folder.path().join("volume/deep/file").to_string_lossy().into_owned();
    soon(&stage.victim, &openat(&outside))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 2, "{counters:?}");
    soon(&inside, &openat("/data/deep/file"))?;
    drop((inside, neighbour));
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn io_uring_waits_too() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let args = vec![number(libc::AT_FDCWD), text(&path), number(0)];
    let by_ring = Deed { entry: Entry::Uring, number: uring::OPENAT, args };
    soon(&stage.victim, &by_ring)?;
    let fault = file_delay(&[&path], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    late(&stage.victim, &by_ring)?;
    soon(&stage.bystander, &by_ring)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn it_strays_as_far_as_asked() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let (mean, jitter) = (Duration::from_millis(300), Duration::from_millis(200));
    let fault = file_delay(&[&path], &["open"], mean, |delay| {
        delay.jitter = wire(jitter);
    });
    let injection = client.inject(fault.seed(7).on(&stage.target))?;
    let times = (0..12).map(|_| time(&stage.victim, &openat(&path))).collect::<Result<Vec<_>>>()?;
    client.recover(&injection.id)?;
    let range = mean - jitter..mean + jitter + SLACK;
    ensure!(times.iter().all(|time| range.contains(time)), "{times:?}");
    let (least, most) = (times.iter().min(), times.iter().max());
    ensure!(most > least.map(|least| *least + jitter / 2).as_ref(), "{times:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_budget_is_exact() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let fault = file_delay(&[&path], &["open"], LATENCY, |_| {}).skip(1).times(1);
    let injection = client.inject(fault.on(&stage.target))?;
    soon(&stage.victim, &openat(&path))?;
    late(&stage.victim, &openat(&path))?;
    soon(&stage.victim, &openat(&path))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 3 && counters.fired == 1, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Neither does it count for the fault that would let it.
fn what_fails_does_not_wait() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let slow = client.inject(file_delay(&[&path], &["open"], LATENCY, |_| {}).on(&stage.target))?;
    let broken = files(&[&path], &["open"], "EIO").times(1).on(&stage.target);
    let broken = client.inject(broken)?;
    let begin = Instant::now();
    fails(&stage.victim, &openat(&path), Errno::EIO)?;
    ensure!(begin.elapsed() < LATENCY, "it waited to fail");
    late(&stage.victim, &openat(&path))?;
    client.recover(&broken.id)?;
    let counters = balanced(&client.recover(&slow.id)?)?;
    ensure!(counters.matched == 1 && counters.fired == 1, "{counters:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Both are told when the call begins.
fn of_two_on_one_call_the_longer_counts() -> Result<()> {
    let (stage, daemon, client, path) = served()?;
    let long = 5 * LATENCY;
    for latency in [long, LATENCY, long] {
        client.inject(file_delay(&[&path], &["open"], latency, |_| {}).on(&stage.target))?;
    }
    let time = time(&stage.victim, &openat(&path))?;
    ensure!(time >= long && time < 2 * long, "{time:?}");
    soon(&stage.bystander, &openat(&path))?;
    client.recover_all()?;
    soon(&stage.victim, &openat(&path))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The kernel does not ask about a file that was opened when nobody watched; the call was to wait all the same.
fn what_nobody_was_asked_about_is_forgotten() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let (slow, fast) = (file(&stage, "data.slow")?, file(&stage, "data.fast")?);
    let before = opened(&stage.victim, &slow)?;
    let glob = slow.replace("data.", "*.");
    let fault = file_delay(&[&glob], &["read"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    let after = opened(&stage.victim, &fast)?;
    let is_asked = time(&stage.victim, &pread(before))? >= LATENCY;
    soon(&stage.victim, &pread(after))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.matched == 1 && counters.fired == 1, "{counters:?}");
    for descriptor in [before, after] {
        works(&stage.victim, &call(libc::SYS_close, [number(descriptor)]))?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)?;
    if is_asked { skip("this kernel asks about files that were opened before") } else { Ok(()) }
}

fn a_command_of_chaos_exec_waits() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, KIND, "open")?;
    let path = file(&stage, "data")?;
    let fault = ["exec", "file", "delay", "--latency", "700ms", "--path", &path, "--do", "open"];
    let mut command = chaos(Place::default(), fault)?;
    command.arg("--").arg(own_binary()?).arg("victim");
    let victim = Agent::over(command)?;
    // Until it answers it is not there yet.
    victim.cgroup()?;
    late(&victim, &openat(&path))?;
    soon(&stage.victim, &openat(&path))?;
    let code = victim.end()?;
    ensure!(code == 0, "chaos exec ended with {code}");
    soon(&stage.bystander, &openat(&path))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_firing_says_how_long() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "data")?;
    let mut watch = watcher.watch("")?;
    let fault = file_delay(&[&path], &["open"], LATENCY, |_| {}).on(&stage.target);
    let injection = client.inject(fault)?;
    let hit = poll::until("a firing", SOON, || {
        late(&stage.victim, &openat(&path))?;
        while let Some(event) = watch.next(Duration::from_millis(200))? {
            if let Event::Firing(firing) = event
                && let Some(What::Call(hit)) = firing.what
            {
                return Ok(Some(hit));
            }
        }
        Ok(None)
    })?;
    let delay = hit.delay.context("it does not say how long")?;
    ensure!(hit.name == "open" && hit.errno.is_empty(), "{}", hit.name);
    ensure!(delay.nanos == 700_000_000 && delay.seconds == 0, "{delay:?}");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
