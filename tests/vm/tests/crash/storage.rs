//! A state directory that is full or cannot be written.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::{End, State};

use crate::harness::{
    Daemon, Loss, Mounted, Probe as _, Settings, Stage, active, balanced, poll, refused, tests,
};

tests![
    a_full_disk_refuses_and_recovers,
    no_inodes_left_is_a_full_disk_too,
    a_read_only_state_is_refused_at_the_start,
    a_state_that_turns_read_only_still_recovers,
    what_is_stuck_is_told_once,
    a_state_that_is_a_file_is_refused,
];

/// Fills a filesystem to its last byte.
pub(super) fn fill(disk: &Mounted) -> Result<std::path::PathBuf> {
    use std::io::Write as _;
    let path = disk.path().join("ballast");
    let mut file = fs::File::create(&path)?;
    for block in [4096, 1] {
        while file.write_all(&vec![0; block]).is_ok() {}
    }
    Ok(path)
}

/// A daemon whose state lies on a small disk of its own.
fn on_disk(stage: &Stage, disk: &Mounted) -> Result<Daemon> {
    stage.daemon_with(Settings { state: Some(disk.path().join("state")), ..Settings::default() })
}

fn a_full_disk_refuses_and_recovers() -> Result<()> {
    let stage = Stage::new()?;
    let disk = Mounted::new("tmpfs", &stage.scratch.join("disk"), "size=256k")?;
    let daemon = on_disk(&stage, &disk)?;
    let client = daemon.client()?;
    let (victim, bystander) = (stage.victim_udp()?, stage.bystander_udp()?);
    client.inject_as("earlier", Loss::all().on(&stage.target))?;
    let ballast = fill(&disk)?;

    refused(client.inject_as("refused", Loss::all().on(&stage.sibling)), "STORAGE")?;
    bystander.all_arrive()?;
    victim.none_arrive()?;
    ensure!(daemon.journal()?.len() == 1, "the refused injection left {:?}", daemon.journal()?);
    ensure!(client.get("refused").is_err(), "the refused injection is remembered");
    // A full disk never keeps a fault alive.
    client.recover("earlier")?;
    victim.all_arrive()?;
    stage.idle(&daemon)?;

    fs::remove_file(ballast)?;
    active(&client.inject_as("refused", Loss::all().on(&stage.target))?)?;
    victim.none_arrive()?;
    stage.finish(daemon)
}

fn no_inodes_left_is_a_full_disk_too() -> Result<()> {
    let stage = Stage::new()?;
    let disk = Mounted::new("tmpfs", &stage.scratch.join("disk"), "nr_inodes=24")?;
    let daemon = on_disk(&stage, &disk)?;
    let client = daemon.client()?;
    let victim = stage.victim_udp()?;
    let injection = client.inject(Loss::all().on(&stage.target))?;
    let mut files = Vec::new();
    for number in 0..64 {
        let path = disk.path().join(format!("file{number}"));
        if fs::File::create(&path).is_err() {
            break;
        }
        files.push(path);
    }
    ensure!(files.len() < 64, "the disk takes any number of files");
    refused(client.inject(Loss::all().on(&stage.sibling)), "STORAGE")?;
    client.recover(&injection.id)?;
    victim.all_arrive()?;
    stage.idle(&daemon)?;
    files.into_iter().try_for_each(fs::remove_file)?;
    stage.finish(daemon)
}

fn a_read_only_state_is_refused_at_the_start() -> Result<()> {
    let stage = Stage::new()?;
    let disk = Mounted::new("tmpfs", &stage.scratch.join("disk"), "size=256k")?;
    let daemon = on_disk(&stage, &disk)?;
    daemon.stop()?;
    disk.read_only().context("cannot make the disk read-only")?;
    let state = disk.path().join("state");
    let settings = Settings { state: Some(state.clone()), ..Settings::default() };
    let (status, said) = Daemon::launch(&stage.scratch, settings)?.wait_refused()?;
    ensure!(!status.success() && said.contains(&*state.to_string_lossy()), "{status}: {said}");
    stage.clean()
}

/// A disk that fails turns read-only; the faults of its daemon must end all the same.
fn a_state_that_turns_read_only_still_recovers() -> Result<()> {
    let stage = Stage::new()?;
    let disk = Mounted::new("tmpfs", &stage.scratch.join("disk"), "size=256k")?;
    let daemon = on_disk(&stage, &disk)?;
    let client = daemon.client()?;
    let victim = stage.victim_udp()?;
    let short = Loss::all().lasting(Duration::from_secs(4)).on(&stage.target);
    let (asked, expiring) = (client.inject(Loss::all().on(&stage.target))?, client.inject(short)?);
    victim.none_arrive()?;
    // A read-only mount over the state: the daemon's open files stay, its paths do not.
    let lid = disk.lid(&disk.path().join("state"))?;
    refused(client.inject(Loss::all().on(&stage.sibling)), "STORAGE")?;
    client.recover(&asked.id)?;
    poll::until_ok("the other fault to expire", Duration::from_secs(15), || {
        victim.all_arrive_now()
    })?;
    drop(lid);
    poll::until("the daemon to tidy up", Duration::from_secs(30), || {
        let live = client.list()?;
        Ok((live.is_empty() && daemon.journal()?.is_empty()).then_some(()))
    })?;
    ensure!(client.get(&expiring.id)?.ended_at.is_some());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// What the audit log has to say of one injection.
fn told(daemon: &Daemon, id: &str) -> Result<Vec<serde_json::Value>> {
    let log = daemon.audit()?;
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>().context("a line of the log is no JSON")?;
    Ok(lines.into_iter().filter(|line| line["id"] == id).collect())
}

/// An undo that fails is tried again every five seconds: that is no news each time, and how it ends at last is
/// what was asked for at first.
fn what_is_stuck_is_told_once() -> Result<()> {
    const RETRY: Duration = Duration::from_secs(5);
    let stage = Stage::new()?;
    let disk = Mounted::new("tmpfs", &stage.scratch.join("disk"), "size=256k")?;
    let daemon = on_disk(&stage, &disk)?;
    let client = daemon.client()?;
    let victim = stage.victim_udp()?;
    client.inject_as("stuck", Loss::all().on(&stage.target))?;
    victim.none_arrive()?;
    ensure!(told(&daemon, "stuck")?.len() == 1);
    let lid = disk.lid(&disk.path().join("state"))?;
    let stuck = client.recover("stuck")?;
    ensure!(stuck.state() == State::Stuck && !stuck.message.is_empty(), "{stuck:?}");
    let before = told(&daemon, "stuck")?;
    ensure!(before.len() == 2, "{before:?}");
    // Its effects are gone, and only its file is not.
    poll::all_along(RETRY * 3 / 2, || {
        let now = told(&daemon, "stuck")?;
        ensure!(now == before, "retries are in the log: {now:?}");
        let live = client.list()?;
        ensure!(live.len() == 1 && live[0].state() == State::Stuck, "{live:?}");
        victim.all_arrive()
    })?;
    drop(lid);
    let ended = poll::until("the next retry", RETRY * 3, || {
        Ok(Some(client.get("stuck")?).filter(|injection| injection.state() == State::Ended))
    })?;
    ensure!(ended.end() == End::Recovered, "{ended:?}");
    let all = told(&daemon, "stuck")?;
    ensure!(all.len() == 3 && all[..2] == before, "{all:?}");
    let fired = balanced(&ended)?.fired;
    let last = &all[2];
    let is_end = last["action"] == "end" && last["why"] == "recovered" && last["fired"] == fired;
    ensure!(is_end && fired > 0, "{last}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_state_that_is_a_file_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let file = stage.scratch.join("file");
    fs::write(&file, "mine")?;
    let settings = Settings { state: Some(file.clone()), ..Settings::default() };
    let (status, said) = Daemon::launch(&stage.scratch, settings)?.wait_refused()?;
    ensure!(!status.success() && said.contains(&*file.to_string_lossy()), "{status}: {said}");
    ensure!(fs::read_to_string(&file)? == "mine");
    stage.clean()
}
