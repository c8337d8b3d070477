//! Who may ask, and what is kept of it.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1::target::Target;
use tonic::Code;

use crate::harness::{
    Agent, Daemon, Loss, Place, Probe as _, Settings, Stage, TestGroup, refused, tests,
};

tests![
    strangers_are_refused,
    members_of_the_group_are_admitted,
    a_large_message_is_refused,
    every_change_is_audited,
];

const NOBODY: u32 = 65534;

fn strangers_are_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let stranger = Agent::start(Place::default().user(NOBODY, NOBODY))?;
    let (code, message) = stranger.list(daemon.socket())?;
    ensure!(code != Code::Ok, "uid {NOBODY} was let in");
    // The socket's mode is one lock; the peer's credentials are another.
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666))?;
    let (code, message) = match stranger.list(daemon.socket())? {
        (Code::Unavailable, _) => (code, message),
        answer => answer,
    };
    ensure!(
        code == Code::PermissionDenied && message.contains(&NOBODY.to_string()),
        "{code:?}: {message}"
    );
    // Being refused does not spoil it for others.
    daemon.client()?.list()?;
    stage.finish(daemon)
}

fn members_of_the_group_are_admitted() -> Result<()> {
    let stage = Stage::new()?;
    let group = TestGroup::new(&stage.scratch)?;
    let started =
        stage.daemon_with(Settings { group: Some(TestGroup::NAME.into()), ..Settings::default() });
    let unknown = Daemon::launch(
        &stage.scratch,
        Settings {
            group: Some("no-such-group".into()),
            state: Some(stage.scratch.join("state2")),
            socket: Some(stage.scratch.join("second.sock")),
            ..Settings::default()
        },
    )
    .and_then(Daemon::wait_refused);
    drop(group);
    let (status, said) = unknown?;
    ensure!(!status.success() && said.contains("no-such-group"), "{status}: {said}");
    let daemon = started?;
    let member = Agent::start(Place::default().user(NOBODY, TestGroup::ID))?;
    let (code, message) = member.list(daemon.socket())?;
    ensure!(code == Code::Ok, "a member of the group was refused: {code:?}: {message}");
    let stranger = Agent::start(Place::default().user(NOBODY, NOBODY))?;
    let (code, _) = stranger.list(daemon.socket())?;
    ensure!(code != Code::Ok, "a stranger was let in");
    stage.finish(daemon)
}

fn a_large_message_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let flow = stage.victim_udp()?;
    client.inject(Loss::all().on(&stage.target))?;
    let address = "a".repeat(10 << 20);
    let status = client.inject(Loss::all().remote(&[&address]).on(&stage.target)).err();
    let code = status.context("10 MB of address were accepted")?.code();
    ensure!(
        matches!(code, Code::OutOfRange | Code::ResourceExhausted | Code::InvalidArgument),
        "{code:?}"
    );
    ensure!(client.list()?.len() == 1);
    flow.none_arrive()?;
    stage.finish(daemon)
}

fn every_change_is_audited() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let spec = || Loss::percent(1.0).on(&stage.target);
    client.inject_as("audited", spec())?;
    client.renew("audited", None)?;
    client.recover("audited")?;
    refused(client.inject(Loss::all().at(Target::Cgroup("/".into()))), "TARGET_PROTECTED")?;
    let log = daemon.audit()?;
    let entries = log
        .lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect::<Result<Vec<serde_json::Value>>>()?;
    ensure!(entries.len() >= 4, "{log}");
    for entry in &entries {
        let who = entry.get("who").and_then(|who| who.as_str()).unwrap_or_default();
        ensure!(entry.get("time").is_some() && who.contains("uid 0"), "{entry}");
    }
    let named = entries.iter().filter(|entry| entry.to_string().contains("audited")).count();
    ensure!(named == 3, "{named} entries are about the injection, not 3: {log}");
    // What only asks is no change.
    client.list()?;
    client.plan(spec())?;
    ensure!(daemon.audit()?.lines().count() == entries.len());
    stage.finish(daemon)?;
    let kept = fs::read_to_string(stage.scratch.state().join("audit.log"))?;
    ensure!(kept.starts_with(&log), "the audit log lost its beginning");
    Ok(())
}
