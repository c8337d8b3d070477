//! Calls with one answer, in every format.

use chaos_common::proto::v1::End;

use crate::{
    chaos::{Said as _, snapshot},
    daemon::{Daemon, ended, injection, unreadable},
};

fn busy() -> Daemon {
    let daemon = Daemon::start();
    daemon.put(injection("loss-1"));
    daemon.put(ended(injection("loss-2"), End::Expired));
    daemon.put(injection("stuck-1"));
    daemon
}

/// Compares a verb's output in each format with the files of its name.
fn each_format(daemon: &Daemon, verb: &str, name: &str) {
    for (format, extension) in
        [("table", "txt"), ("wide", "wide.txt"), ("json", "json"), ("yaml", "yaml")]
    {
        let line = format!("{verb} -o {format}");
        daemon.chaos(&line).assert().code(0).stdout_eq(snapshot(&format!("{name}.{extension}")));
    }
}

#[test]
fn doctor() {
    each_format(&Daemon::start(), "doctor", "doctor");
}

#[test]
fn targets() {
    let daemon = Daemon::start();
    each_format(&daemon, "targets", "targets");
    daemon
        .chaos("targets --sockets")
        .assert()
        .code(0)
        .stdout_eq(snapshot("targets_sockets.txt"))
        .stderr_eq(snapshot("targets_sockets_note.txt"));
}

#[test]
fn ls() {
    let daemon = busy();
    each_format(&daemon, "ls", "ls");
    each_format(&daemon, "ls --all", "ls_all");
}

#[test]
fn ls_is_by_age_whatever_has_ended() {
    let daemon = Daemon::start();
    for (id, age) in [("a", 3), ("b", 5), ("c", 1), ("d", 4), ("from-the-future", 2)] {
        let mut injection = match id {
            "from-the-future" => unreadable(id),
            "b" | "c" => ended(injection(id), End::Expired),
            _ => injection(id),
        };
        let created = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        injection.created_at = Some(created.into());
        daemon.put(injection);
    }
    let said = daemon.chaos("ls --all").assert().code(0).stdout();
    let ids: Vec<&str> =
        said.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(ids, ["b", "d", "a", "from-the-future", "c"]);
    let said = daemon.chaos("ls --all -o json").assert().code(0).stdout();
    let all: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
    let ids: Vec<_> = all.iter().map(|injection| injection["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["b", "d", "a", "from-the-future", "c"]);
}

#[test]
fn what_is_left_is_said_in_words() {
    let daemon = Daemon::start();
    let mut injection = injection("loss-1");
    let ends = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
    injection.expires_at = Some(ends.into());
    daemon.put(injection);
    for verb in ["ls", "get loss-1"] {
        let said = daemon.chaos(verb).assert().code(0).stdout();
        assert!(said.contains("59m ") || said.contains("1h"), "{said}");
    }
}

#[test]
fn ls_of_nothing_says_so_beside_the_output() {
    let daemon = Daemon::start();
    daemon
        .chaos("ls")
        .assert()
        .code(0)
        .stdout_eq("")
        .stderr_eq("note: no injections; --all shows those that are over\n");
    daemon.chaos("ls -o json").assert().code(0).stdout_eq("[]\n").stderr_eq("");
    daemon.chaos("ls -o yaml").assert().code(0).stdout_eq("[]\n").stderr_eq("");
}

#[test]
fn a_fault_from_the_future_does_not_hide_the_others() {
    let daemon = busy();
    daemon.put(unreadable("from-the-future"));
    let said = daemon.chaos("ls").assert().code(0).stdout();
    assert_eq!(said.lines().count(), 4, "{said}");
    daemon.chaos("recover from-the-future").assert().code(0);
    daemon.put(unreadable("from-the-future"));
    let said = daemon.chaos("get from-the-future").assert().code(1).stderr();
    assert!(said.contains("newer than this client"), "{said}");
}

#[test]
fn get() {
    let daemon = busy();
    each_format(&daemon, "get loss-1", "get");
    daemon.chaos("get loss-2").assert().code(0).stdout_eq(snapshot("get_ended.txt"));
}

#[test]
fn an_end_that_needs_one_has_a_reason() {
    let daemon = Daemon::start();
    daemon.put(ended(injection("a"), End::Interrupted));
    daemon.put(ended(injection("b"), End::TargetGone));
    let mut own = ended(injection("c"), End::Interrupted);
    own.message = "the machine was started anew".into();
    daemon.put(own);
    for (id, because) in [
        ("a", "the daemon was away longer than its lease"),
        ("b", "the target's cgroup was removed"),
        ("c", "the machine was started anew"),
    ] {
        for verb in [format!("get {id}"), "ls --all -o wide".into(), format!("watch {id}")] {
            let said = daemon.chaos(&verb).assert().code(0).stdout();
            assert!(said.contains(because), "{verb}: {said}");
        }
    }
    let said = daemon.chaos("get c").assert().code(0).stdout();
    assert!(!said.contains("lease, the machine"), "{said}");
}

#[test]
fn inject_says_what_happens_and_when_it_ends() {
    let daemon = Daemon::start();
    let line = "inject network loss --unit nginx.service --percent 30 --to 10.0.0.0/8 --except 10.0.0.1 \
                --port 5432 --port 6000-6010 --local-port 80 --protocol tcp --direction both --times 5 \
                --seed 7 --duration 20d --id a";
    daemon.chaos(line).assert().code(0).stdout_eq(snapshot("inject.txt")).stderr_eq("");
    daemon.chaos(&format!("{line} -o json")).assert().code(0).stdout_eq(snapshot("inject.json"));
    let other = line.replace("--times 5", "--times 6");
    daemon
        .chaos(&other)
        .assert()
        .code(1)
        .stderr_eq("error: cannot inject a: a is another injection; give another id\n");
}

/// By flags, over the wire, and out again as in a file.
#[test]
fn every_kind_is_what_was_asked_for() {
    let daemon = Daemon::start();
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("measured.dist");
    std::fs::write(&table, "-8192 0 8192\n").unwrap();
    let measured =
        format!("delay --latency 20ms --jitter 5ms --distribution-file {}", table.display());
    for (n, (flags, said)) in [
        ("loss --every 3 --interface eth0", "loss one in 3, out, interface eth0"),
        (&measured, "delay 20ms ± 5ms table of 3 values, out"),
        ("duplicate --percent 5 --dscp ef", "duplicate 5 %, out, dscp ef"),
        ("reorder --every 5 --time 9ms --direction in", "reorder one in 5 by 9ms, in"),
        ("corrupt --percent 1 --checksum fixed", "corrupt 1 %, payload, checksum fixed, out"),
        ("rate --rate 1Mbit --drop", "rate 1Mbit/s, burst 1600B, drop, out"),
        ("partition --connections new --first 9kB", "partition both, new connections, first 9kB"),
    ]
    .into_iter()
    .enumerate()
    {
        let line = format!("inject network {flags} --unit nginx.service --duration 1m --id a-{n}");
        let text = daemon.chaos(&line).assert().code(0).stdout();
        assert!(text.starts_with(&format!("a-{n}: network {said} on unit")), "{flags}: {text}");
        let yaml = daemon.chaos(&format!("get a-{n} -o yaml")).assert().code(0).stdout();
        let spec: Vec<&str> = yaml
            .lines()
            .skip_while(|line| *line != "spec:")
            .skip(1)
            .take_while(|line| line.starts_with(' '))
            .collect();
        let again = daemon
            .chaos(&format!("inject -f - --id b-{n}"))
            .stdin(spec.join("\n"))
            .assert()
            .code(0)
            .stdout();
        assert!(again.starts_with(&format!("b-{n}: network {said} on unit")), "{yaml}: {again}");
    }
}

#[test]
fn inject_draws_an_id_and_says_the_default_duration() {
    let daemon = Daemon::start();
    let said = daemon.chaos("inject network loss --percent 1 --pid 1").assert().code(0);
    let (out, err) = (said.stdout(), said.stderr());
    let id = out.split(':').next().unwrap();
    assert_eq!(id.len(), "network-loss-".len() + 8, "{out}");
    assert_eq!(
        err,
        format!("note: {id} has no duration of its own and gets 5m; --duration sets it\n")
    );
    daemon.chaos(&format!("get {id}")).assert().code(0);
}

#[test]
fn a_plan_changes_nothing() {
    let daemon = Daemon::start();
    let line = "inject network loss --percent 1 --unit nginx.service --duration 1m --dry-run";
    daemon.chaos(line).assert().code(0).stdout_eq(snapshot("plan.txt")).stderr_eq("");
    daemon.chaos(&format!("{line} -o yaml")).assert().code(0).stdout_eq(snapshot("plan.yaml"));
    daemon.chaos("ls -a -o json").assert().code(0).stdout_eq("[]\n");
}

#[test]
fn errors_have_their_details() {
    let daemon = Daemon::start();
    let inject = |flags: &str| {
        daemon
            .chaos(&format!("inject network loss --percent 1 --duration 1m --id a {flags}"))
            .assert()
    };
    inject("--unit missing.service").code(1).stdout_eq("").stderr_eq(
        "error: cannot inject a: no unit missing.service on this node; `chaos targets` lists them\n",
    );
    inject("--unit missing.service -o json")
        .code(1)
        .stdout_eq("")
        .stderr_eq(snapshot("error_missing.json"));
    inject("--pid 1 --seed 13").code(64).stderr_eq(
        "error: cannot inject a: the spec cannot be used; spec.seed: 13 is bad luck; give another number\n",
    );
    inject("--pid 1 --seed 13 -o json").code(64).stderr_eq(snapshot("error_spec.json"));
    inject("--pid 1 --seed 13 -o yaml").code(64).stderr_eq(snapshot("error_spec.yaml"));
    let said = inject("--unit gone.service").code(1).stderr();
    assert!(said.contains("the same again with --id a is safe"), "{said}");
    daemon
        .chaos("get a")
        .assert()
        .code(1)
        .stderr_eq("error: cannot get a: no injection a; `chaos ls --all` lists them\n");
}

#[test]
fn renew() {
    let daemon = busy();
    daemon.chaos("renew loss-1 --duration 25d").assert().code(0).stdout_eq(snapshot("renew.txt"));
    daemon.chaos("renew none").assert().code(1);
    daemon.chaos("renew loss-1 --duration 0s").assert().code(64);
}

#[test]
fn recover() {
    let daemon = busy();
    daemon
        .chaos("recover loss-1 loss-1")
        .assert()
        .code(0)
        .stdout_eq(snapshot("recover.txt"))
        .stderr_eq("");
    daemon
        .chaos("recover none loss-1")
        .assert()
        .code(2)
        .stderr_eq("error: cannot recover none: no injection none; `chaos ls --all` lists them\n");
    daemon.chaos("recover none").assert().code(1);
    daemon.chaos("recover stuck-1").assert().code(1).stdout_eq(snapshot("recover_stuck.txt"));
}

#[test]
fn recover_all() {
    let daemon = busy();
    daemon.chaos("recover --all").assert().code(2).stdout_eq(snapshot("recover_all.txt"));
    daemon.chaos("recover --all -o json").assert().code(2).stdout_eq(snapshot("recover_all.json"));
    Daemon::start().chaos("recover --all").assert().code(0).stdout_eq("nothing to recover\n");
}
