//! `chaos exec --sweep`: a program with a known bug at each of its calls, and the table that says so.

use std::{
    fs,
    io::BufRead as _,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::harness::{
    Output, Place, Stage, chaos, finish, needs_aspect, own_binary, own_command, poll,
    reason_against, run_command, start, tests,
};

tests![
    each_bug_is_found_where_it_is,
    system_calls_are_swept_too,
    every_kind_of_call_is_swept,
    calls_on_sockets_are_swept_everywhere,
    what_is_left_running_is_killed_and_what_is_said_is_kept,
    an_interruption_leaves_nothing,
    a_running_process_is_swept,
    what_cannot_be_swept_is_refused,
];

/// What a test sweeps with, and where.
struct Sweep<'a> {
    stage: &'a Stage,
    own: String,
}

impl<'a> Sweep<'a> {
    fn new(stage: &'a Stage) -> Result<Self> {
        let own = own_binary()?;
        let own = own.to_str().context("the path of this program is no text")?.to_owned();
        Ok(Self { stage, own })
    }

    fn path(&self, name: &str) -> String {
        self.stage.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// A command of this very program, as one word.
    fn word(&self, words: &str) -> String {
        format!("{} child swept {words}", self.own)
    }

    fn start(&self, flags: &[&str], words: &[&str]) -> Result<Child> {
        let all = [&["exec"], flags, &["--", &self.own, "child"], words].concat();
        start(chaos(Place::default(), all)?)
    }

    fn run(&self, flags: &[&str], words: &[&str]) -> Result<Output> {
        finish(self.start(flags, words)?, "")
    }

    /// As [`Self::run`] with `-o json`.
    fn object(&self, flags: &[&str], words: &[&str]) -> Result<(Output, Value)> {
        let output = self.run(&[flags, &["-o", "json"]].concat(), words)?;
        let object = serde_json::from_str(&output.out)
            .with_context(|| format!("that is no JSON: {output:?}"))?;
        Ok((output, object))
    }

    /// No cgroup of a sweep is left below that of the tests.
    fn is_clean(&self) -> Result<()> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).context("no cgroup")?;
        let dir = crate::harness::cgroup_mount()?.join(own.trim_start_matches('/'));
        let mut left = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name());
        let left = left.find(|name| name.to_string_lossy().starts_with("chaos-exec-"));
        ensure!(left.is_none(), "{left:?} is left");
        Ok(())
    }
}

/// `position verdict end name` for each run.
fn told(object: &Value) -> Vec<String> {
    let of = |run: &Value| {
        let end = match (run["exitCode"].as_i64(), run["signal"].as_str()) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => signal.to_owned(),
            (None, None) => "none".to_owned(),
        };
        let name = run["call"]["name"].as_str().unwrap_or("-");
        format!("{} {} {end} {name}", run["position"], run["verdict"].as_str().unwrap_or("?"))
    };
    object["runs"].as_array().into_iter().flatten().map(of).collect()
}

fn each_bug_is_found_where_it_is() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    for operation in ["write", "read"] {
        needs_aspect(&daemon.client()?, "file error", operation)?;
    }
    let sweep = Sweep::new(&stage)?;
    let file = sweep.path("file");
    let (reset, check) =
        (sweep.word(&format!("reset {file}")), sweep.word(&format!("check {file}")));
    let fault = ["file", "error", "--path", &file, "--do", "write,read", "--errno", "EIO"];
    let flags = ["--before", &reset, "--check", &check, "--codes", "0,1", "--timeout", "5s"];
    let (output, object) = sweep
        .object(&[&fault[..], &["--sweep=..9"], &flags].concat(), &["swept", "buggy", &file])?;
    ensure!(output.code == 3, "{output:?}");
    ensure!(
        told(&object)
            == [
                "1 ok 0 write",
                "2 failed 1 write",
                "3 crash SIGABRT write",
                "4 hang none read",
                "5 dataLost 0 write",
                "6 wrongExit 99 read",
                "7 ok 0 write",
                "8 notReached 0 -",
                "9 notReached 0 -",
            ],
        "{object:#}"
    );
    let baseline = &object["baseline"];
    ensure!(baseline["calls"] == 7 && baseline["exitCode"] == 0, "{object:#}");
    let run = |position: usize| &object["runs"][position - 1];
    let said = run(2)["said"][0].as_str().unwrap_or_default();
    ensure!(said.starts_with("cannot write: ") && said.ends_with("(os error 5)"), "{said}");
    ensure!(run(4)["said"][0] == "waiting for better times", "{object:#}");
    ensure!(run(5)["check"]["said"][0] == "five is missing", "{object:#}");
    ensure!(run(5)["call"]["errno"] == "EIO", "{object:#}");
    for position in [3, 4, 5, 6] {
        ensure!(output.err.contains(&format!("call {position}")), "{}", output.err);
    }
    // Without a list of codes the sixth call fails as any other; the crash is still there, so only these are tried.
    let flags = ["--before", &reset, "--sweep=6"];
    fs::remove_file(&file)?;
    let (output, object) =
        sweep.object(&[&fault[..], &flags].concat(), &["swept", "buggy", &file])?;
    ensure!(output.code == 0 && told(&object) == ["6 failed 99 read"], "{output:?}");
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn system_calls_are_swept_too() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, "syscall error", "write")?;
    needs_aspect(&daemon.client()?, "syscall error", "read")?;
    let sweep = Sweep::new(&stage)?;
    let file = sweep.path("file");
    let (reset, check) =
        (sweep.word(&format!("reset {file}")), sweep.word(&format!("check {file}")));
    // `pread64` is one of the variants of `read`.
    let fault = ["syscall", "error", "--call", "write,read", "--path", &file, "--errno", "ENOSPC"];
    let flags = ["--sweep", "--before", &reset, "--check", &check, "--timeout", "5s"];
    let output = sweep.run(&[&fault[..], &flags].concat(), &["swept", "buggy", &file])?;
    ensure!(output.code == 3, "{output:?}");
    let rows: Vec<Vec<&str>> = output
        .out
        .lines()
        .map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let begin = |row: &[&str]| row.iter().take(4).map(ToString::to_string).collect::<Vec<_>>();
    let table: Vec<Vec<String>> = rows.iter().take(8).map(|row| begin(row)).collect();
    ensure!(
        table
            == [
                ["CALL", "VERDICT", "ENDED", "CHECK"],
                ["1", "ok", "exit 0", "good"],
                ["2", "failed", "exit 1", "good"],
                ["3", "crash", "SIGABRT", "good"],
                ["4", "hang", "no end", "good"],
                ["5", "data lost", "exit 0", "failed"],
                ["6", "failed", "exit 99", "good"],
                ["7", "ok", "exit 0", "good"],
            ],
        "{}",
        output.out
    );
    ensure!(
        output.out.ends_with("\n7 runs: 2 ok, 2 failed, 1 crash, 1 hang, 1 data lost\n"),
        "{}",
        output.out
    );
    ensure!(output.out.contains("ENOSPC") && output.out.contains("five is missing"));
    // Where all calls are met: none of them is of chaos itself, which becomes the command.
    if reason_against(&daemon.client()?, "syscall error", |aspect| aspect == "fsync")?.is_none() {
        let calls = "open,close,read,write,mmap,munmap,brk,fcntl,dup";
        let own = ["syscall", "error", "--call", calls, "--errno", "EIO", "--comm", "chaos"];
        let output = sweep.run(&[&own[..], &["--sweep"]].concat(), &["exit", "0"])?;
        ensure!(output.code == 1 && output.err.contains("matches no call"), "{output:?}");
    }
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn every_kind_of_call_is_swept() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let sweep = Sweep::new(&stage)?;
    let file = sweep.path("file");
    fs::write(&file, "x")?;
    type Case<'a> = (&'a str, &'a str, Vec<&'a str>, &'a str);
    let cases: [Case<'_>; 2] = [
        (
            "file error",
            "open",
            vec!["--path", &file, "--do", "open", "--errno", "EACCES"],
            "3 open",
        ),
        ("memory error", "allocate", vec!["--no", "allocate", "--least", "8MiB"], "5 allocate"),
    ];
    for (kind, aspect, flags, told_of) in cases {
        needs_aspect(&client, kind, aspect)?;
        let kind: Vec<&str> = kind.split(' ').collect();
        let (output, object) = sweep
            .object(&[&kind[..], &flags, &["--sweep"]].concat(), &["swept", "calls", &file])?;
        ensure!(
            output.code == 0 && told(&object) == [format!("1 failed {told_of}")],
            "{kind:?}: {object:#}"
        );
    }
    // A whole group of calls, of which one is on the file; their hooks are attached once.
    let flags =
        ["syscall", "error", "--call", "@file", "--errno", "EIO", "--path", &file, "--partial"];
    needs_aspect(&client, "syscall error", "open")?;
    let begun = Instant::now();
    let (output, object) =
        sweep.object(&[&flags[..], &["--sweep=..20"]].concat(), &["swept", "calls", &file])?;
    let took = begun.elapsed();
    println!("21 runs under a group of calls took {took:?}");
    ensure!(took < Duration::from_secs(25), "is each function's program loaded anew? {took:?}");
    ensure!(output.code == 0 && told(&object).len() == 20, "{object:#}");
    ensure!(told(&object)[..2] == ["1 failed 3 open", "2 notReached 0 -"], "{object:#}");
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Also where it is the cgroup's hooks that refuse them.
fn calls_on_sockets_are_swept_everywhere() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, "socket error", "bind")?;
    let sweep = Sweep::new(&stage)?;
    let (file, yaml) = (sweep.path("file"), sweep.path("fault.yaml"));
    fs::write(&file, "x")?;
    fs::write(&yaml, "fault: {socketError: {operations: [bind], errno: EADDRINUSE}}\n")?;
    let flags = ["socket", "error", "--do", "bind", "--errno", "EADDRINUSE"];
    for fault in [&flags[..], &["-f", &yaml]] {
        let (output, object) =
            sweep.object(&[fault, &["--sweep"]].concat(), &["swept", "calls", &file])?;
        ensure!(output.code == 0 && told(&object) == ["1 failed 4 bind"], "{object:#}");
        ensure!(object["runs"][0]["call"]["errno"] == "EADDRINUSE", "{object:#}");
    }
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_is_left_running_is_killed_and_what_is_said_is_kept() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, "file error", "exec")?;
    let sweep = Sweep::new(&stage)?;
    let kept = sweep.path("kept");
    // Each run makes two programs: the command, and what it leaves.
    let fault = ["file", "error", "--path", &sweep.own, "--do", "exec", "--errno", "ENOMEM"];
    let (output, object) =
        sweep.object(&[&fault[..], &["--sweep", "--keep", &kept]].concat(), &["swept", "leave"])?;
    ensure!(output.code == 0 && object["baseline"]["calls"] == 2, "{object:#}");
    ensure!(told(&object) == ["1 failed 126 exec", "2 failed 1 exec"], "{object:#}");
    let said = fs::read_to_string(Path::new(&kept).join("baseline.out"))?;
    let left: u32 = said.trim().strip_prefix("left ").context("said nothing")?.parse()?;
    ensure!(!is_victim(left), "the process {left} goes on");
    let first = fs::read_to_string(Path::new(&kept).join("1.err"))?;
    ensure!(first.contains("cannot run"), "{first}");
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Whether a process runs this very program; another one may have its id by now.
fn is_victim(pid: u32) -> bool {
    let runs = |path: PathBuf| fs::read_link(path).ok();
    let own = runs("/proc/self/exe".into());
    let sleeps = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| {
        words.split(|byte| *byte == 0).any(|word| word == b"sleep" || word == b"buggy")
    });
    sleeps && runs(format!("/proc/{pid}/exe").into()) == own
}

fn an_interruption_leaves_nothing() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    for operation in ["write", "read"] {
        needs_aspect(&daemon.client()?, "file error", operation)?;
    }
    let sweep = Sweep::new(&stage)?;
    let file = sweep.path("file");
    let reset = sweep.word(&format!("reset {file}"));
    let fault = ["file", "error", "--path", &file, "--do", "write,read", "--errno", "EIO"];
    let flags = ["--sweep=2..", "--before", &reset, "--timeout", "10m", "-o", "json"];
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = sweep.start(&[&fault[..], &flags].concat(), &["swept", "buggy", &file])?;
        // The fourth run hangs once the third is told of.
        let err = child.stderr.take().context("no errors")?;
        let mut lines = std::io::BufReader::new(err).lines();
        let heard = lines.by_ref().map_while(Result::ok).any(|line| line.contains("call 3"));
        ensure!(heard, "it ended early: {:?}", finish(child, ""));
        let buggy = poll::until("the fourth run", Duration::from_secs(20), || {
            let written = fs::read_to_string(&file).is_ok_and(|text| text.contains("three"));
            Ok(if written { victims(&sweep)?.first().copied() } else { None })
        })?;
        kill(Pid::from_raw(child.id() as i32), signal)?;
        let output = finish(child, "")?;
        ensure!(output.code == 128 + signal as i32, "{output:?}");
        ensure!(!is_victim(buggy), "the command goes on");
        let object: Value = serde_json::from_str(&output.out)?;
        ensure!(
            told(&object) == ["2 failed 1 write", "3 crash SIGABRT write"],
            "{signal}: {object:#}"
        );
        sweep.is_clean()?;
        fs::remove_file(&file)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Commands of a sweep that run.
fn victims(sweep: &Sweep<'_>) -> Result<Vec<u32>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let folder = sweep.stage.folder.path().to_string_lossy().into_owned();
    Ok(pids
        .filter(|pid| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            words.contains(" swept buggy ") && words.contains(&folder) && !words.contains("exec")
        })
        .collect())
}

fn a_running_process_is_swept() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, "file error", "write")?;
    let sweep = Sweep::new(&stage)?;
    let (socket, file) = (sweep.path("socket"), sweep.path("file"));
    let place = Place::default().cgroup(&stage.target)?;
    let mut server = start(own_command(place, &["swept", "serve", &socket, &file])?)?;
    let out = server.stdout.take().context("no output")?;
    let first = std::io::BufReader::new(out).lines().next().context("it said nothing")??;
    ensure!(first == "ready", "{first}");
    let pid = server.id().to_string();
    let fault = ["file", "error", "--path", &file, "--do", "write", "--errno", "EIO"];
    let (output, object) = sweep.object(
        &[&fault[..], &["--sweep=..5", "--pid", &pid]].concat(),
        &["swept", "ask", &socket],
    )?;
    ensure!(output.code == 3, "{output:?}");
    ensure!(told(&object) == ["1 ok 0 write", "2 failed 1 write", "3 crash 0 write"], "{object:#}");
    ensure!(object["runs"][2]["processGone"] == true && object["next"] == 4, "{object:#}");
    ensure!(object["baseline"]["calls"] == 3, "{object:#}");
    let ended = finish(server, "")?;
    ensure!(ended.code == 128 + Signal::SIGABRT as i32, "{ended:?}");
    let again = sweep.run(&[&fault[..], &["--sweep", "--pid", &pid]].concat(), &["exit", "0"])?;
    ensure!(again.code == 1 && again.err.contains("there is no process"), "{again:?}");
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_cannot_be_swept_is_refused() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, "file error", "write")?;
    let sweep = Sweep::new(&stage)?;
    let file = sweep.path("file");
    let write = ["file", "error", "--path", &file, "--do", "write", "--errno", "EIO", "--sweep"];
    let refused = |flags: &[&str], words: &[&str], code: i32, said: &str| {
        let output = run(&sweep, &write, flags, words)?;
        ensure!(output.code == code && output.err.contains(said), "{flags:?}: {output:?}");
        sweep.is_clean()
    };
    refused(&[], &["exit", "0"], 1, "matches no call")?;
    refused(&["--before", "/no/such/program x"], &["exit", "0"], 1, "--before fails (exit 127)")?;
    refused(&[], &["die", "SIGKILL"], 1, "ends by SIGKILL")?;
    refused(&["--timeout", "1s"], &["sleep", "600"], 1, "does not end within 1.0")?;
    let failing = format!("{} child exit 9", sweep.own);
    refused(&["--check", &failing], &["exit", "0"], 1, "--check fails when no call")?;
    let reset = sweep.word(&format!("reset {file}"));
    let late = ["--before", &reset];
    let late = [&write[..write.len() - 1], &["--sweep=9.."], &late].concat();
    let output = sweep.run(&late, &["swept", "buggy", &file])?;
    ensure!(output.code == 1 && output.err.contains("only 5 match"), "{output:?}");
    let missing = [&["exec"], &write[..], &["--", "/no/such/program"]].concat();
    let output = run_command(chaos(Place::default(), missing)?, "")?;
    ensure!(output.code == 1 && output.err.contains("cannot run /no/such/program"), "{output:?}");
    sweep.is_clean()?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn run(sweep: &Sweep<'_>, fault: &[&str], flags: &[&str], words: &[&str]) -> Result<Output> {
    sweep.run(&[fault, flags].concat(), words)
}
