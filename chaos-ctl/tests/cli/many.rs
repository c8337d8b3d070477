//! Ten thousand injections.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    chaos::{PROGRAM, Said as _},
    daemon::{Daemon, injection},
};

const MANY: usize = 10_000;

fn crowded() -> Daemon {
    let daemon = Daemon::start();
    (0..MANY).for_each(|n| daemon.put(injection(&format!("loss-{n:05}"))));
    daemon
}

#[test]
fn all_of_them_are_listed_at_once() {
    let daemon = crowded();
    for (format, lines) in [("table", MANY + 1), ("wide", MANY + 1), ("json", MANY + 2)] {
        let run = |_| {
            let begun = Instant::now();
            let said = daemon.chaos(&format!("ls -o {format}")).assert().code(0).stdout();
            assert_eq!(said.lines().count(), lines, "{format}");
            begun.elapsed()
        };
        let took = (0..3).map(run).min().unwrap_or_default();
        println!("ls -o {format} of {MANY}: {took:?}");
        // The goal is 100 ms for a release build; this one may be slow, but not in another class.
        assert!(took < Duration::from_secs(5), "{format}: {took:?}");
    }
    let said = daemon.chaos("ls -o yaml").assert().code(0).stdout();
    assert_eq!(said.lines().filter(|line| line.starts_with("- id: ")).count(), MANY);
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let daemon = crowded();
    let mut chaos = Command::new(PROGRAM)
        .args(["ls", "-o", "json", "--socket"])
        .arg(daemon.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(chaos.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "[\n");
    let mut said = String::new();
    chaos.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((chaos.wait().unwrap().code(), said.as_str()), (Some(0), ""));
}
