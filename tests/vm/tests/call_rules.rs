//! Several rules of one target, alike in some ways and not in others: each is about what it says, whatever the others are
//! about, and whoever comes or goes.

use std::fs;

use anyhow::{Context as _, Result};
use chaos_common::proto::v1;
use nix::{errno::Errno, libc};
use tempfile::TempDir;

use crate::harness::{
    Client, Stage, active, call, fails, files, needs_aspect, number, openat, outcome,
    syscalls_with, tests, text, works,
};
use crate::victim::{Arg, Deed};

tests![
    rules_about_files_leave_each_other_alone,
    rules_about_system_calls_leave_each_other_alone,
    a_rule_about_files_and_one_about_system_calls,
    the_root_itself_is_found,
];

/// A folder at the root, where paths differ from their first name on, with a file.
struct Folder(TempDir);

impl Folder {
    fn new(start: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(start).tempdir_in("/")?;
        fs::create_dir(folder.path().join("a"))?;
        fs::write(folder.path().join("a/file"), "text")?;
        Ok(Self(folder))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn open(&self) -> Deed {
        openat(&self.path("a/file"))
    }
}

/// A fault of opening files.
type Rule = fn(&Stage, paths: &[&str], errno: &str) -> v1::Spec;

fn by_files(stage: &Stage, paths: &[&str], errno: &str) -> v1::Spec {
    files(paths, &["open"], errno).on(&stage.target)
}

fn by_system_calls(stage: &Stage, paths: &[&str], errno: &str) -> v1::Spec {
    let paths = paths.iter().map(ToString::to_string).collect();
    syscalls_with(&["open"], errno, |error| error.paths = paths).on(&stage.target)
}

fn rules_about_files_leave_each_other_alone() -> Result<()> {
    alone("file error", by_files, by_files)
}

fn rules_about_system_calls_leave_each_other_alone() -> Result<()> {
    alone("syscall error", by_system_calls, by_system_calls)
}

fn a_rule_about_files_and_one_about_system_calls() -> Result<()> {
    alone("syscall error", by_files, by_system_calls)
}

fn alone(kind: &str, first: Rule, second: Rule) -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, "file error", "open")?;
    needs_aspect(&client, kind, "open")?;
    let (one, two, other) = (Folder::new("one-")?, Folder::new("two-")?, Folder::new("onf-")?);
    let inject = |client: &Client, spec| client.inject(spec).map(|injection| injection.id);
    let of_one = inject(&client, first(&stage, &[&one.path("**")], "EIO"))?;
    fails(&stage.victim, &one.open(), Errno::EIO)?;
    for folder in [&two, &other] {
        works(&stage.victim, &folder.open())?;
    }
    // Where paths begin that have nothing in common but the slash, and where one is a name only.
    let of_two = inject(&client, second(&stage, &[&two.path("a/f?le"), "*.no"], "EACCES"))?;
    fails(&stage.victim, &one.open(), Errno::EIO)?;
    fails(&stage.victim, &two.open(), Errno::EACCES)?;
    works(&stage.victim, &other.open())?;
    // By a path from somewhere.
    let folder = outcome(&stage.victim, &openat(&two.path("a")))?.context("no folder")?;
    let near = |name: &str| call(libc::SYS_openat, [number(folder), text(name), number(0)]);
    fails(&stage.victim, &near("file"), Errno::EACCES)?;
    for folder in [&one, &two, &other] {
        works(&stage.bystander, &folder.open())?;
    }
    client.recover(&of_one)?;
    works(&stage.victim, &one.open())?;
    fails(&stage.victim, &two.open(), Errno::EACCES)?;
    fails(&stage.victim, &near("file"), Errno::EACCES)?;
    // What they had in common is known to the next daemon too.
    daemon.kill()?;
    fails(&stage.victim, &two.open(), Errno::EACCES)?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    active(&client.get(&of_two)?)?;
    fails(&stage.victim, &two.open(), Errno::EACCES)?;
    works(&stage.victim, &one.open())?;
    let of_one = inject(&client, first(&stage, &[&one.path("a/*")], "ENFILE"))?;
    fails(&stage.victim, &one.open(), Errno::ENFILE)?;
    fails(&stage.victim, &two.open(), Errno::EACCES)?;
    client.recover(&of_two)?;
    fails(&stage.victim, &one.open(), Errno::ENFILE)?;
    works(&stage.victim, &two.open())?;
    client.recover(&of_one)?;
    works(&stage.victim, &one.open())?;
    works(&stage.victim, &call(libc::SYS_close, [number(folder)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// It has no name of its own.
fn the_root_itself_is_found() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, "file error", "stat")?;
    let stat = |path: &str| call(libc::SYS_stat, [text(path), Arg::Room(256)]);
    let injection = client.inject(files(&["/"], &["stat"], "EIO").on(&stage.target))?;
    fails(&stage.victim, &stat("/"), Errno::EIO)?;
    works(&stage.victim, &stat("/proc"))?;
    works(&stage.bystander, &stat("/"))?;
    client.recover(&injection.id)?;
    works(&stage.victim, &stat("/"))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
