//! `watch`, and what goes to which stream.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use chaos_common::proto::v1::End;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    chaos::{PROGRAM, Said as _, snapshot},
    daemon::{Daemon, ended, injection},
};

#[test]
fn a_watch_ends_with_its_injection() {
    let daemon = Daemon::start();
    daemon.put(injection("loss-1"));
    daemon.put(injection("loss-2"));
    daemon.chaos("watch loss-2").assert().code(0).stdout_eq(snapshot("watch.txt")).stderr_eq("");
    daemon.chaos("watch loss-2 -o json").assert().code(0).stdout_eq(snapshot("watch.jsonl"));
    daemon.chaos("watch loss-2 -o yaml").assert().code(0).stdout_eq(snapshot("watch.yaml"));
}

#[test]
fn a_watch_of_what_is_over_ends_at_once() {
    let daemon = Daemon::start();
    daemon.put(ended(injection("loss-1"), End::TargetGone));
    let said = daemon.chaos("watch loss-1").assert().code(0).stdout();
    assert!(said.contains("loss-1  target-gone"), "{said}");
    daemon.chaos("watch none").assert().code(1).stdout_eq("");
}

#[test]
fn an_interrupt_ends_a_watch_of_all_in_peace() {
    let daemon = Daemon::start();
    daemon.put(injection("loss-1"));
    let mut chaos = Command::new(PROGRAM)
        .args(["watch", "--socket"])
        .arg(daemon.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(chaos.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("loss-1  active"));
    kill(Pid::from_raw(chaos.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(chaos.wait().unwrap().code(), Some(0));
}

#[test]
fn a_daemon_that_goes_away_ends_a_watch_with_an_error() {
    let daemon = Daemon::start();
    daemon.put(injection("loss-1"));
    let mut chaos = Command::new(PROGRAM)
        .args(["watch", "--socket"])
        .arg(daemon.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(chaos.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().is_ok());
    let socket = daemon.socket().display().to_string();
    drop(daemon);
    let ended = chaos.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    let gone = format!(
        "error: cannot watch injections: the daemon at {socket} went away; see that it runs and try again\n"
    );
    assert_eq!(said, gone);
}

#[test]
fn colours_are_for_terminals() {
    let daemon = Daemon::start();
    daemon.put(injection("loss-1"));
    let plain = daemon.chaos("ls").assert().code(0).stdout();
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let forced = daemon.chaos("ls").env("CLICOLOR_FORCE", "1").assert().code(0).stdout();
    assert!(forced.contains('\u{1b}'), "{forced}");
}
