//! `inject -f`: one document, several, and what cannot be one.

use std::fs;

use crate::{
    chaos::{Said as _, chaos, snapshot},
    daemon::Daemon,
};

const LOSS: &str =
    "target: {unit: nginx.service}\nduration: 90s\nfault: {networkLoss: {percent: 30}}\n";

fn on(unit: &str) -> String {
    LOSS.replace("nginx.service", unit)
}

fn refused(text: &str, words: &str) {
    let said = chaos("inject -f -").stdin(text.to_owned()).assert().code(64).stdout_eq("").stderr();
    assert!(said.contains(words), "{words}: {said:.500}");
    assert!(said.len() < 4000, "{} bytes: {said:.500}", said.len());
}

#[test]
fn a_document_is_an_injection() {
    let daemon = Daemon::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("loss.yaml");
    fs::write(&path, LOSS).unwrap();
    let line = format!("inject --id a -f {}", path.display());
    daemon.chaos(&line).assert().code(0).stdout_eq(snapshot("inject_file.txt")).stderr_eq("");
    daemon
        .chaos("inject --id b -f - -o yaml")
        .stdin(LOSS)
        .assert()
        .code(0)
        .stdout_eq(snapshot("inject_file.yaml"));
}

#[test]
fn several_documents_each_stand_for_themselves() {
    let daemon = Daemon::start();
    let inject = |line: &str, units: &[&str]| {
        let documents: Vec<String> = units.iter().map(|unit| on(unit)).collect();
        daemon.chaos(line).stdin(documents.join("---\n")).assert()
    };
    inject("inject --id all -f -", &["a.service", "b.service"])
        .code(0)
        .stdout_eq(snapshot("inject_several.txt"));
    inject("inject --id some -f - -o json", &["a.service", "missing.service", "b.service"])
        .code(2)
        .stdout_eq(snapshot("inject_some.jsonl"))
        .stderr_eq(snapshot("inject_some_error.jsonl"));
    inject("inject --id none -f -", &["missing.service", "protected.service"])
        .code(1)
        .stdout_eq("")
        .stderr_eq(snapshot("inject_none.txt"));
    let long = "x".repeat(63);
    let said =
        inject(&format!("inject --id {long} -f -"), &["a.service", "b.service"]).code(64).stderr();
    assert!(said.contains("--id"), "{said}");
}

#[test]
fn a_daemon_that_goes_away_is_not_asked_for_the_rest() {
    let daemon = Daemon::start();
    let units = ["a.service", "gone.service", "b.service", "c.service"];
    let text = |units: &[&str]| units.iter().map(|unit| on(unit)).collect::<Vec<_>>().join("---\n");
    let inject = |line: &str, units: &[&str]| daemon.chaos(line).stdin(text(units)).assert();
    let said = inject("inject -f - --id x", &units).code(2).stderr();
    assert_eq!(said.lines().count(), 2, "{said}");
    let note = "note: x-2 may have been started, and 2 more were not tried; the same again with --id x is safe";
    assert_eq!(said.lines().last(), Some(note));
    let said = inject("inject -f -", &units).code(2).stderr();
    assert!(said.contains("may have been started, and 2 more were not tried"), "{said}");
    assert!(said.contains("the same file again would start anew what was started"), "{said}");
    let said = inject("inject -f - --id y", &units[1..]).code(1).stderr();
    assert!(said.contains("y-1 may have been started, and 2 more were not tried"), "{said}");
    let said = inject("inject -f - --dry-run", &units).code(2).stderr();
    assert!(said.ends_with("note: 2 more were not tried\n"), "{said}");
}

#[test]
fn notes_for_programs_are_objects() {
    let daemon = Daemon::start();
    let text = LOSS.replace("duration: 90s\n", "");
    daemon.chaos("inject --id a -f - -o json").stdin(text).assert().code(0).stderr_eq(
        "{\"note\":{\"message\":\"a has no duration of its own and gets 5m; the field `duration` sets it\"}}\n",
    );
}

#[test]
fn what_was_written_is_shown_escaped() {
    let daemon = Daemon::start();
    let text = LOSS.replace("unit: nginx.service", "cgroup: \"/\\e[2J\\nx\"");
    for line in ["inject -f - --dry-run", "inject -f - --id a", "inject -f - --id a"] {
        let said = daemon.chaos(line).stdin(text.clone()).assert().code(0);
        let said = said.stdout() + &said.stderr();
        assert!(said.contains("/\\u{1b}[2J\\nx"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said}");
    }
    for line in ["inject -f /a\u{1b}[2J\nb", "ls --socket /a\u{1b}[2J\nb"] {
        let said = chaos(line).assert().code(1).stderr();
        assert!(said.contains("/a\\u{1b}[2J\\nb"), "{said}");
    }
}

/// Nobody knows an id that was drawn, when it comes to nothing.
#[test]
fn a_refusal_names_what_was_given() {
    let daemon = Daemon::start();
    let inject =
        |line: &str| daemon.chaos(line).stdin(on("missing.service")).assert().code(1).stderr();
    let said = inject("inject -f -");
    assert!(
        said.starts_with("error: cannot inject network loss on unit missing.service: no"),
        "{said}"
    );
    assert!(inject("inject -f - --id a").starts_with("error: cannot inject a: no unit"));
}

#[test]
fn a_default_duration_is_said_aloud() {
    let daemon = Daemon::start();
    let text = LOSS.replace("duration: 90s\n", "");
    daemon.chaos("inject --id a -f -").stdin(text).assert().code(0).stderr_eq(
        "note: a has no duration of its own and gets 5m; the field `duration` sets it\n",
    );
}

#[test]
fn nothing_is_done_unless_every_document_can_be_read() {
    let daemon = Daemon::start();
    let text = format!("{LOSS}---\n{}", LOSS.replace("percent: 30", "percent: 0"));
    daemon.chaos("inject -f -").stdin(text).assert().code(64).stdout_eq("");
    daemon.chaos("ls -o json").assert().code(0).stdout_eq("[]\n");
}

#[test]
fn what_is_no_spec_is_refused() {
    for (from, to, words) in [
        ("percent: 30", "percent: 0", "would do nothing"),
        ("percent: 30", "percent: .nan", "no percentage"),
        ("percent: 30", "percent: 100.1", "no percentage"),
        ("percent: 30", "procent: 30", "procent"),
        ("duration: 90s", "duration: 0s", "at least"),
        ("duration: 90s", "duration: 1000years", "too long"),
        ("duration: 90s", "lasts: 90s", "lasts"),
        ("nginx.service", "nginx", "full name"),
        ("nginx.service", "\"ngi\\0nx.service\"", "no unit"),
        (
            "unit: nginx.service",
            "unit: a.service, pid: 1",
            "line 1: target: give exactly one of unit,",
        ),
    ] {
        refused(&LOSS.replace(from, to), words);
    }
    refused("", "holds no fault");
    refused("\0", "standard input: line 1: this is no YAML");
    refused(&LOSS.replace("nginx", &"x".repeat(1 << 20)), "the most is");
    refused(&LOSS.replace("nginx", &"x".repeat(1 << 19)), "no unit");
    refused(&"[".repeat(1 << 19), "");
    refused(&format!("a: &a [{}]", "*a,".repeat(1000)), "");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    chaos("inject -f /nowhere/loss.yaml").assert().code(1).stderr_eq(
        "error: cannot open /nowhere/loss.yaml: No such file or directory (os error 2)\n",
    );
    let said = chaos("inject -f /").assert().code(1).stderr();
    assert!(said.contains("cannot read /"), "{said}");
    let said = chaos("inject -f /dev/zero").assert().code(64).stderr();
    assert!(said.contains("the most is"), "{said}");
    chaos("inject -f -").stdin(vec![0xffu8, 0xfe]).assert().code(64);
}
