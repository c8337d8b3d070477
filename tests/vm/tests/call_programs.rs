//! Programs as they are: what people use reports what a fault of calls promises, keeps its promises to its own users, and
//! works again after it.

use std::{collections::BTreeSet, fs, process::Child, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chaos_common::proto::v1;

use crate::harness::{
    Cgroup, Client, Place, Server, Stage, balanced, begin, files, finish, memory, needs_aspect,
    needs_programs, poll, run_to_end, sockets, succeeds, syscalls, syscalls_with, tests,
};

tests![
    sqlite_where_syncing_fails,
    sqlite_on_a_full_disk,
    redis_with_an_error_now_and_then,
    a_server_in_go_that_cannot_accept,
    a_client_in_go_that_cannot_connect,
    dynamic_programs_say_what_failed,
];

const PATIENCE: Duration = Duration::from_secs(30);

/// A place among the processes of a cgroup.
fn of(cgroup: &Cgroup) -> Result<Place> {
    Place::default().cgroup(cgroup)
}

/// A folder that programs see as `/tmp/<name>`, gone with the value.
struct Folder(String);

impl Folder {
    fn new(name: &str) -> Result<Self> {
        let folder = Self(name.into());
        fs::create_dir_all(folder.outside()).context("cannot make a folder for programs")?;
        Ok(folder)
    }

    /// As programs see it.
    fn path(&self) -> String {
        format!("/tmp/{}", self.0)
    }

    /// As the tests see it.
    fn outside(&self) -> String {
        format!("/programs/tmp/{}", self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(self.outside()) {
            eprintln!("vm-tests: cannot remove {}: {error}", self.outside());
        }
    }
}

/// The shell of SQLite, without settings of anybody.
const SQLITE: [&str; 4] = ["sqlite3", "-batch", "-init", "/dev/null"];

/// A database of SQLite, and what was promised to be in it.
struct Database {
    path: String,
    promised: BTreeSet<u32>,
    next: u32,
}

impl Database {
    fn new(folder: &Folder, name: &str) -> Result<Self> {
        let path = format!("{}/{name}.db", folder.path());
        let made = Self { path, promised: BTreeSet::new(), next: 1 };
        made.ask("CREATE TABLE t (n INTEGER PRIMARY KEY, filler);")?;
        Ok(made)
    }

    /// From outside of the target.
    fn ask(&self, question: &str) -> Result<String> {
        succeeds(Place::default(), &[&SQLITE[..], &[&self.path, question]].concat())
    }

    /// Begins so many transactions in one process.
    fn transact(&self, cgroup: &Cgroup, count: u32) -> Result<(Child, String)> {
        let lines = (self.next..self.next + count)
            .map(|n| format!("INSERT INTO t VALUES ({n}, randomblob(600));\n"));
        Ok((begin(of(cgroup)?, &[&SQLITE[..], &[&self.path]].concat())?, lines.collect()))
    }

    /// Waits for the end of transactions, of which each is in one line. How many failed, with these words.
    fn end(&mut self, (child, lines): (Child, String), words: &str) -> Result<usize> {
        let count = lines.lines().count() as u32;
        let output = finish(child, &lines)?;
        let mut refused = BTreeSet::new();
        for line in output.err.lines() {
            let number = line.strip_prefix("Runtime error near line ");
            let (number, said) = number.and_then(|rest| rest.split_once(": ")).unwrap_or_default();
            ensure!(said.starts_with(words), "SQLite says {line:?}, not {words:?}");
            refused.insert(self.next - 1 + number.parse::<u32>()?);
        }
        ensure!(output.code == i32::from(!refused.is_empty()), "{output:?}");
        let all = self.next..self.next + count;
        self.promised.extend(all.filter(|n| !refused.contains(n)));
        self.next += count;
        Ok(refused.len())
    }

    /// Fails unless what was promised is there, nothing that was refused is, and all of it is whole.
    fn check(&self) -> Result<()> {
        let said = self.ask("PRAGMA integrity_check; SELECT n FROM t ORDER BY n;")?;
        let (verdict, rows) = said.split_once('\n').context("SQLite says nothing")?;
        ensure!(verdict == "ok", "{}: {verdict}", self.path);
        let there = rows.lines().map(str::parse).collect::<Result<BTreeSet<u32>, _>>()?;
        ensure!(there == self.promised, "{there:?} is there, {:?} was promised", self.promised);
        Ok(())
    }
}

/// Transactions of a victim and a bystander at the same time, before a fault that hits some, during it and after it.
fn transactions(stage: &Stage, client: &Client, fault: v1::Spec, words: &str) -> Result<()> {
    const COUNT: u32 = 30;
    let folder = Folder::new("sqlite")?;
    let (mut its, mut others) =
        (Database::new(&folder, "victim")?, Database::new(&folder, "bystander")?);
    for is_hit in [false, true, false] {
        let injection = is_hit.then(|| client.inject(fault.clone())).transpose()?;
        let running =
            (its.transact(&stage.target, COUNT)?, others.transact(&stage.sibling, COUNT)?);
        let failed = its.end(running.0, words)?;
        ensure!(others.end(running.1, words)? == 0, "the bystander's failed");
        match injection {
            Some(injection) => {
                let counters = balanced(&client.recover(&injection.id)?)?;
                ensure!(counters.fired > 0, "{counters:?}");
                ensure!((1..COUNT as usize).contains(&failed), "{failed} failed; {counters:?}");
            }
            None => ensure!(failed == 0, "{failed} failed without a fault"),
        }
        its.check()?;
        others.check()?;
    }
    Ok(())
}

fn sqlite_where_syncing_fails() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, "syscall error", "fsync")?;
    let fault = syscalls_with(&["fsync", "fdatasync"], "EIO", |error| {
        error.paths = vec!["/tmp/sqlite/*".into()];
    });
    // A transaction syncs four times, and once more when it is taken back.
    let fault = fault.every(7).on(&stage.target);
    transactions(&stage, &client, fault, "disk I/O error (10)")?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn sqlite_on_a_full_disk() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, "file error", "write")?;
    let fault = files(&["/tmp/sqlite/*"], &["write"], "ENOSPC");
    let fault = fault.percent(5.0).seed(3).on(&stage.target);
    transactions(&stage, &client, fault, "database or disk is full (13)")?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A Redis that keeps what it is told in a file, and what it promised to keep.
struct Redis {
    folder: Folder,
    server: Server,
    promised: BTreeSet<String>,
    asked: u32,
}

impl Redis {
    fn start(cgroup: &Cgroup, folder: Folder) -> Result<Self> {
        let (path, socket) = (folder.path(), format!("{}/socket", folder.path()));
        let argv = ["redis-server", "--port", "0", "--unixsocket", &socket, "--dir", &path];
        let kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"];
        let server = Server::start(of(cgroup)?, &[&argv[..], &kept].concat())?;
        let redis = Self { folder, server, promised: BTreeSet::new(), asked: 0 };
        poll::until_ok("Redis to answer", PATIENCE, || {
            let (said, _) = redis.tell("PING\n")?;
            ensure!(said == "PONG\n", "it says {said:?}");
            Ok(())
        })?;
        Ok(redis)
    }

    /// From outside of the target. What it answers, and what the client complains about.
    fn tell(&self, commands: &str) -> Result<(String, String)> {
        let socket = format!("{}/socket", self.folder.path());
        let output = finish(begin(Place::default(), &["redis-cli", "-s", &socket])?, commands)?;
        Ok((output.out, output.err))
    }

    /// Has it keep so many things. It answers with the name of each that it will keep. How many it did not promise to.
    fn keep(&mut self, count: u32) -> Result<usize> {
        let names = (self.asked..self.asked + count).map(|n| format!("thing{n}"));
        let names: BTreeSet<String> = names.collect();
        let script = "redis.call('SET', KEYS[1], KEYS[1]) return KEYS[1]";
        let commands = names.iter().map(|name| format!("EVAL \"{script}\" 1 {name}\n"));
        self.asked += count;
        let (said, complaints) = self.tell(&commands.collect::<String>())?;
        let mut errors = complaints.lines().filter(|line| line.starts_with("Error: ")).count();
        let mut promised = 0;
        for line in said.lines().filter(|line| !line.is_empty()) {
            if names.contains(line) {
                self.promised.insert(line.to_owned());
                promised += 1;
            } else {
                ensure!(line.contains("Errors writing to the AOF file"), "Redis says {line:?}");
                errors += 1;
            }
        }
        ensure!(
            promised + errors == count as usize,
            "{promised} promised, {errors} errors: {said} {complaints}"
        );
        Ok(errors)
    }

    /// Fails unless all is there that was promised.
    fn check(&self) -> Result<()> {
        let names: Vec<&str> = self.promised.iter().map(String::as_str).collect();
        let (said, _) = self.tell(&format!("MGET {}\n", names.join(" ")))?;
        let there: Vec<&str> = said.lines().collect();
        ensure!(there == names, "{there:?} is there, {names:?} was promised");
        Ok(())
    }

    /// Kills it and starts it again, with what it has in its file.
    fn restart(self, cgroup: &Cgroup) -> Result<Self> {
        let Self { folder, server, promised, asked } = self;
        server.kill()?;
        Ok(Self { promised, asked, ..Self::start(cgroup, folder)? })
    }
}

fn redis_with_an_error_now_and_then() -> Result<()> {
    const COUNT: u32 = 100;
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, "syscall error", "write")?;
    let mut its = Redis::start(&stage.target, Folder::new("redis-victim")?)?;
    let mut others = Redis::start(&stage.sibling, Folder::new("redis-bystander")?)?;
    for redis in [&mut its, &mut others] {
        ensure!(redis.keep(COUNT)? == 0, "it makes errors without a fault");
    }
    // Where calls are met by what the kernel asks its security modules some cannot be.
    let fault = syscalls_with(&["@file"], "EIO", |error| error.partial = true);
    let injection = client.inject(fault.percent(1.0).seed(1).on(&stage.target))?;
    let mut errors = 0;
    poll::until_ok("Redis to have had some errors", PATIENCE * 2, || {
        errors += its.keep(COUNT)?;
        ensure!(others.keep(COUNT)? == 0, "the bystander makes errors");
        let counters = balanced(&client.get(&injection.id)?)?;
        ensure!(errors >= 3 && counters.fired >= 10, "{errors} errors, {counters:?}");
        Ok(())
    })?;
    client.recover(&injection.id)?;
    its.server.lives()?;
    // What it could not write it writes now, and takes new things; the first may hear of an error before.
    poll::until_ok("Redis to keep things again", PATIENCE, || {
        let errors = its.keep(COUNT)?;
        ensure!(errors == 0, "{errors} errors");
        Ok(())
    })?;
    let (on_disk, _) = its.tell("WAITAOF 1 0 20000\n")?;
    ensure!(on_disk.starts_with("1\n"), "its file is not on the disk: {on_disk:?}");
    for (redis, cgroup) in [(its, &stage.target), (others, &stage.sibling)] {
        redis.check().context("in memory")?;
        redis.restart(cgroup)?.check().context("after a restart")?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// A server in Go of what lies in a folder, at the near end.
fn go_server(stage: &Stage, cgroup: &Cgroup, folder: &Folder, port: &str) -> Result<Server> {
    let place = of(cgroup)?.netns(&stage.net.near)?;
    let path = folder.path();
    let argv = ["websocketd", "--port", port, "--staticdir", &path, "--loglevel", "error"];
    let server = Server::start(place, &argv)?;
    poll::until_ok("the server in Go to serve", PATIENCE, || fetch(stage, port))?;
    Ok(server)
}

/// Starts a client at the far end.
fn fetching(stage: &Stage, port: &str) -> Result<Child> {
    let url = format!("http://10.77.0.1:{port}/page");
    let place = Place::default().netns(&stage.net.far)?;
    begin(place, &["curl", "-sS", "--max-time", "30", &url])
}

fn fetch(stage: &Stage, port: &str) -> Result<()> {
    let output = finish(fetching(stage, port)?, "")?;
    ensure!(output.code == 0 && output.out == "a page", "{output:?}");
    Ok(())
}

fn page(name: &str) -> Result<Folder> {
    let folder = Folder::new(name)?;
    fs::write(format!("{}/page", folder.outside()), "a page")?;
    Ok(folder)
}

fn a_server_in_go_that_cannot_accept() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    for kind in ["syscall error", "socket error"] {
        needs_aspect(&client, kind, "accept")?;
    }
    let folder = page("go-server")?;
    let mut its = go_server(&stage, &stage.target, &folder, "8080")?;
    let mut others = go_server(&stage, &stage.sibling, &folder, "8081")?;
    let faults = [syscalls(&["accept"], "EMFILE"), sockets(&["accept"], "EMFILE", |_| {})];
    for fault in faults {
        let injection = client.inject(fault.on(&stage.target))?;
        // Its connection is there, but nobody takes it.
        let waiting = fetching(&stage, "8080")?;
        poll::until_ok("the server to try again", PATIENCE, || {
            let counters = balanced(&client.get(&injection.id)?)?;
            ensure!(counters.fired >= 3, "{counters:?}");
            Ok(())
        })?;
        fetch(&stage, "8081").context("from the bystander")?;
        its.lives()?;
        client.recover(&injection.id)?;
        let output = finish(waiting, "")?;
        ensure!(output.code == 0 && output.out == "a page", "{output:?}");
        fetch(&stage, "8080")?;
    }
    others.lives()?;
    let said = its.kill()?.0;
    ensure!(said.contains("too many open files; retrying in"), "the server says {said:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_client_in_go_that_cannot_connect() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, "socket error", "connect")?;
    let folder = page("go-client")?;
    let place = Place::default().netns(&stage.net.far)?;
    let path = folder.path();
    let argv = ["busybox", "httpd", "-f", "-p", "10.77.0.2:8080", "-h", &path];
    let _server = Server::start(place, &argv)?;
    let load = |cgroup| -> Result<String> {
        let place = of(cgroup)?.netns(&stage.net.near)?;
        succeeds(place, &["hey", "-n", "10", "-c", "2", "-t", "10", "http://10.77.0.2:8080/page"])
    };
    let all = "[200]\t10 responses";
    poll::until_ok("all to be answered", PATIENCE, || {
        let said = load(&stage.target)?;
        ensure!(said.contains(all), "{said}");
        Ok(())
    })?;
    for (fault, errno) in [
        (syscalls(&["connect"], "ECONNREFUSED"), "connect: connection refused"),
        (sockets(&["connect"], "ENETUNREACH", |_| {}), "connect: network is unreachable"),
        (sockets(&["socket"], "EMFILE", |_| {}), "socket: too many open files"),
    ] {
        let injection = client.inject(fault.on(&stage.target))?;
        let said = load(&stage.target)?;
        ensure!(!said.contains("[200]") && said.contains(errno), "{said}");
        let said = load(&stage.sibling)?;
        ensure!(said.contains(all), "the bystander: {said}");
        client.recover(&injection.id)?;
    }
    let said = load(&stage.target)?;
    ensure!(said.contains(all), "{said}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// With the C library, which they load when they begin; some of them as children of a shell.
fn dynamic_programs_say_what_failed() -> Result<()> {
    needs_programs()?;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let folder = Folder::new("dynamic")?;
    fs::write(format!("{}/file", folder.outside()), "text")?;
    let shell = |line: &'static str| vec!["busybox", "sh", "-c", line];
    let copy = vec!["busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"];
    for (kind, aspect, fault, argv, words) in [
        (
            "syscall error",
            "open",
            syscalls_with(&["open"], "EIO", |error| error.paths = vec!["/tmp/dynamic/*".into()]),
            vec!["busybox", "cat", "/tmp/dynamic/file"],
            "Input/output error",
        ),
        (
            "file error",
            "read",
            files(&["/tmp/dynamic/*"], &["read"], "EIO"),
            shell("busybox cat /tmp/dynamic/file; exit $?"),
            "Input/output error",
        ),
        (
            "file error",
            "open",
            files(&["/usr/lib/**/libc.so.*"], &["open"], "EACCES"),
            vec!["busybox", "true"],
            "libc.so.6: cannot open shared object file",
        ),
        (
            "file error",
            "mmap",
            files(&["/usr/lib/**/libc.so.*"], &["mmap"], "EACCES"),
            vec!["busybox", "true"],
            "failed to map segment from shared object",
        ),
        (
            "file error",
            "exec",
            files(&["/usr/bin/busybox"], &["exec"], "EACCES").skip(1),
            shell("/usr/bin/busybox cat /tmp/dynamic/file; exit $?"),
            "Permission denied",
        ),
        ("memory error", "allocate", memory("allocate", Some(32 << 20)), copy, "out of memory"),
        (
            "memory error",
            "fork",
            memory("fork", None),
            shell("busybox cat /tmp/dynamic/file; exit $?"),
            "can't fork",
        ),
    ] {
        needs_aspect(&client, kind, aspect)?;
        let work = |cgroup| run_to_end(of(cgroup)?, &argv);
        let before = work(&stage.target)?;
        ensure!(before.code == 0, "{before:?}");
        let injection = client.inject(fault.on(&stage.target))?;
        let (output, other) = (work(&stage.target)?, work(&stage.sibling)?);
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired > 0, "{argv:?}: {counters:?} {output:?}");
        ensure!(output.code != 0 && output.err.contains(words), "{argv:?}: {output:?}");
        ensure!(other == before, "the bystander: {argv:?}: {other:?}");
        let after = work(&stage.target)?;
        ensure!(after == before, "{argv:?}: {after:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
