//! What is refused before a daemon is asked: always 64, always with what to do.

use crate::chaos::{Said as _, chaos};

/// The arguments and what the error says of them.
fn refused(line: &str, words: &str) {
    let said =
        chaos(line).env("CHAOS_SOCKET", "/nowhere/chaos.sock").assert().code(64).stdout_eq("");
    let said = said.stderr();
    assert!(said.contains(words), "chaos {line}: {said}");
    assert!(said.len() < 2000, "chaos {line}: {} bytes", said.len());
}

#[test]
fn words_that_are_none() {
    refused("lss", "'ls'");
    refused("ls --al", "'--all'");
    refused("ls extra", "unexpected argument");
    refused("ls -o xml", "table, wide, json, yaml");
    refused("get", "<ID>");
    refused("get Not_An_Id", "no injection id");
    refused("recover", "<ID|--all>");
    refused("recover a --all", "cannot be used with");
    refused("inject network", "Usage: chaos inject network");
    refused("inject network lag --pid 1", "unrecognized subcommand 'lag'");
    refused("inject -f a.yaml network loss --percent 1 --pid 1", "either a fault or --file");
    refused("exec network loss --percent 1", "<COMMAND>");
    chaos("").assert().code(64);
    chaos("inject").assert().code(64);
}

/// Programs read objects, whatever is wrong.
#[test]
fn with_json_and_yaml_they_are_objects() {
    for (line, message) in [
        ("lss", "unrecognized subcommand 'lss'; tip: a similar subcommand exists: 'ls'"),
        ("get", "the following required arguments were not provided: <ID>"),
        ("inject", "something is missing on the command line; --help says what belongs there"),
        (
            "inject network loss --percent 0 --pid 1",
            "invalid value '0' for '--percent <PERCENT>': 0 % would do nothing; give more than 0 and at most 100",
        ),
        (
            "inject network loss --percent 1 --pid 1 --to ::1 --except ::1",
            "--to and --except: ::1 is in both; keep it in one",
        ),
        ("inject -f a.yaml network loss --percent 1 --pid 1", "give either a fault or --file"),
    ] {
        let said = chaos(&format!("-o json {line}")).assert().code(64).stdout_eq("").stderr();
        let object: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(object, serde_json::json!({"error": {"message": message}}), "{line}");
        let said = chaos(&format!("-o yaml {line}")).assert().code(64).stdout_eq("").stderr();
        assert!(said.starts_with("---\nerror:"), "{said}");
    }
}

#[test]
fn what_is_missing_is_named_whatever_the_environment() {
    let set = |line: &str| chaos(line).env("CHAOS_SOCKET", "/a").assert().code(64).stderr();
    assert_eq!(set("inject"), chaos("inject").assert().code(64).stderr());
    assert!(set("inject").contains("network"), "{}", set("inject"));
    let said = set("inject --id a");
    assert!(said.contains("<FAMILY> <KIND> as in `network loss`, or --file <FILE>"), "{said}");
    assert!(!said.contains("--socket"), "{said}");
}

#[test]
fn faults_that_make_no_sense() {
    let loss =
        |flags: &str, words: &str| refused(&format!("inject network loss --pid 1 {flags}"), words);
    loss("", "--percent");
    for percent in ["0", "NaN", "100.1", "-1", "inf", "1e400", "x"] {
        let words = if percent == "0" { "0 % would do nothing" } else { "no percentage" };
        loss(&format!("--percent {percent}"), words);
    }
    let life = |flags: &str, words: &str| loss(&format!("--percent 1 {flags}"), words);
    life("--duration 0s", "at least 1ms");
    life("--duration 1000years", "the most is 30days");
    life("--duration 5", "write it as 90s, 5m or 1h30m");
    life("--times 0", "give 1 to 18446744073709551614, or leave it out");
    life("--times 18446744073709551615", "give 1 to 18446744073709551614, or leave it out");
    life("--duration 31d", "31d is too long; the most is 30days");
    life("--times -1", "no whole number");
    life("--duration -5s", "no duration");
    refused("inject network loss --pid -1 --percent 1", "whole number from 1 on");
    for seed in ["x", "-1", "1.5", "18446744073709551616"] {
        let words =
            format!("\"{seed}\" is no seed; give a whole number from 0 to 18446744073709551615");
        life(&format!("--seed {seed}"), &words);
    }
    life("--id UPPER", "no injection id");
    life("--direction up", "out, in or both");
    life("--direction -x", "out, in or both");
    life("--id -x", "no injection id");
    life("--to -x", "no address range");
    life("--protocol -x", "no protocol");
    loss("--percent -x", "no percentage");
    refused("renew a --duration -5s", "\"-5s\" is no duration; write it as 90s, 5m or 1h30m");
    refused("ls -o -x", "table, wide, json, yaml");
    life("--except 10.0.0.0/8 --to 10.0.0.0/8", "keep it in one");
}

#[test]
fn targets_that_make_no_sense() {
    let target = |flags: &str, words: &str| {
        refused(&format!("inject network loss --percent 1 {flags}"), words);
    };
    target("", "--unit <UNIT>");
    target("--unit a.service --pid 1", "cannot be used with");
    target("--unit nginx", "give its full name as nginx.service");
    target("--unit ../a.service", "no unit");
    target("--container nginx", "`chaos targets` lists them");
    target("--pid 0", "--pid");
    target("--cgroup system.slice", "from the cgroup2 mount on");
    target("--cgroup /a/../b", "no cgroup path");
    target("--unit -x", "no unit");
    target("--cgroup -x", "no cgroup path");
    target(&format!("--unit {}.service", "x".repeat(100_000)), "no unit");
    target("--unit \u{1b}[2J.service", "\\u{1b}");
}

/// Before anything is run, and whoever asks.
#[test]
fn sweeps_that_make_no_sense() {
    let sweep = |flags: &str, words: &str| {
        refused(&format!("exec syscall error --call write --errno EIO {flags} -- true"), words);
    };
    for (flag, words) in [
        ("--times 1", "--times: --sweep itself chooses"),
        ("--skip 3", "--skip: --sweep itself chooses"),
        ("--every 2", "--every: --sweep itself chooses"),
        ("--percent 5", "--percent: --sweep itself chooses"),
        ("--seed 5", "--seed: --sweep itself chooses"),
        ("--duration 5s", "--duration: with --sweep the fault is there for the whole of each run"),
        ("--summary", "--summary: --sweep ends in a table of its own"),
    ] {
        sweep(&format!("--sweep {flag}"), words);
    }
    for flag in ["--before a", "--check a", "--timeout 5s", "--codes 0", "--keep a", "--pid 1"] {
        sweep(flag, "--sweep[=<POSITIONS>]");
    }
    for positions in ["0", "5..4", "x", ""] {
        sweep(&format!("--sweep={positions}"), "10..20");
    }
    sweep("--sweep --codes 256", "--codes <CODE>");
    sweep("--sweep --codes -1", "--codes <CODE>");
    sweep("--sweep --timeout 5", "write it as 90s, 5m or 1h30m");
    sweep("--sweep --pid 0", "--pid <PID>");
    refused("exec network loss --percent 1 --sweep -- true", "network loss cannot be swept");
    refused("exec --sweep syscall error --call write --errno EIO -- true", "behind the fault");
    refused("exec syscall error --call write --errno EIO --sweep", "<COMMAND>");
}

#[test]
fn a_sweep_is_of_one_fault() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display();
    let one = "fault: {syscallError: {calls: [write], errno: EIO}}\n";
    std::fs::write(&file, format!("{one}---\n{one}")).unwrap();
    refused(&format!("exec -f {path} --sweep -- true"), "the file holds 2");
    std::fs::write(&file, one.replace("EIO", "EIO, skip: 3")).unwrap();
    refused(&format!("exec -f {path} --sweep -- true"), "--skip: --sweep itself chooses");
}
