//! A journal that cannot be read, or holds more than anybody wants.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Datagrams, Loss, Probe as _, Settings, Stage, active, tests};

tests![
    a_truncated_entry_is_swept,
    an_empty_entry_is_swept,
    an_entry_of_another_shape_is_swept,
    a_missing_entry_is_swept,
    a_foreign_file_is_left_alone,
    ten_thousand_entries_are_settled,
];

/// Lets a daemon die with one live injection, and hands its journal file to `spoil`.
fn after_a_crash(
    stage: &Stage,
    spoil: impl FnOnce(&PathBuf) -> Result<()>,
) -> Result<Datagrams<'_>> {
    let settings = Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() };
    let daemon = stage.daemon_with(settings)?;
    let out = stage.victim_udp()?;
    daemon
        .client()?
        .inject_as("spoilt", Loss::all().lasting(Duration::from_secs(600)).on(&stage.target))?;
    let files = daemon.journal()?;
    let [file] = files.as_slice() else { anyhow::bail!("one injection has the files {files:?}") };
    let path = stage.scratch.state().join("injections").join(file);
    daemon.kill()?;
    out.none_arrive()?;
    spoil(&path)?;
    Ok(out)
}

/// A daemon that cannot read what an earlier one wrote takes its fault away, and works.
fn swept(stage: &Stage, out: &Datagrams<'_>) -> Result<()> {
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    out.all_arrive()?;
    ensure!(client.list()?.is_empty());
    stage.idle(&daemon)?;
    active(&client.inject_as("spoilt", Loss::all().on(&stage.target))?)?;
    out.none_arrive()?;
    client.recover("spoilt")?;
    out.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_truncated_entry_is_swept() -> Result<()> {
    let stage = Stage::new()?;
    let out = after_a_crash(&stage, |path| {
        let text = fs::read(path)?;
        Ok(fs::write(path, &text[..text.len() / 2])?)
    })?;
    swept(&stage, &out)
}

fn an_empty_entry_is_swept() -> Result<()> {
    let stage = Stage::new()?;
    let out = after_a_crash(&stage, |path| Ok(fs::write(path, "")?))?;
    swept(&stage, &out)
}

fn an_entry_of_another_shape_is_swept() -> Result<()> {
    let stage = Stage::new()?;
    let out = after_a_crash(&stage, |path| {
        Ok(fs::write(path, "{\"id\": \"spoilt\", \"colour\": [1, 2, null]}")?)
    })?;
    swept(&stage, &out)
}

/// Somebody cleaned up the state directory by hand.
fn a_missing_entry_is_swept() -> Result<()> {
    let stage = Stage::new()?;
    let out = after_a_crash(&stage, |path| Ok(fs::remove_file(path)?))?;
    swept(&stage, &out)
}

fn a_foreign_file_is_left_alone() -> Result<()> {
    let stage = Stage::new()?;
    let dir = stage.scratch.state().join("injections");
    fs::create_dir_all(dir.join("folder"))?;
    let mine = dir.join("README");
    fs::write(&mine, "mine")?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    active(&client.inject(Loss::all().on(&stage.target))?)?;
    client.recover_all()?;
    daemon.stop()?;
    ensure!(
        fs::read_to_string(&mine)? == "mine" && dir.join("folder").is_dir(),
        "a foreign file is gone"
    );
    fs::remove_dir_all(dir)?;
    stage.clean()
}

/// What ten thousand injections of a dead daemon left: all are settled before anybody is served.
fn ten_thousand_entries_are_settled() -> Result<()> {
    const ENTRIES: usize = 10_000;
    let stage = Stage::new()?;
    let out = after_a_crash(&stage, |path| {
        let mut entry: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
        let dir = path.parent().context("the journal lies in no folder")?;
        let rule = entry["rule"].as_u64().context("an entry has no rule")?;
        for number in 0..ENTRIES {
            let id = format!("left-{number}");
            entry["rule"] = (rule + 1 + number as u64).into();
            entry["id"] = id.as_str().into();
            fs::write(dir.join(format!("{id}.json")), entry.to_string())?;
        }
        Ok(())
    })?;
    let daemon = stage
        .daemon_with(Settings { lease: Some(Duration::from_secs(60)), ..Settings::default() })?;
    let client = daemon.client()?;
    // Of all but one the kernel knows nothing.
    let live = client.list()?;
    ensure!(live.len() == 1 && live[0].id == "spoilt", "{} injections are live", live.len());
    ensure!(daemon.journal()?.len() == 1, "{} files are left", daemon.journal()?.len());
    out.none_arrive()?;
    client.recover_all()?;
    out.all_arrive()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
