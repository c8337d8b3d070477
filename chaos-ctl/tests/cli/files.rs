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
