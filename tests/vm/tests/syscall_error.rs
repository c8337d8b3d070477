//! `syscall error`: on kernels that let system calls fail where they begin, and where security modules are asked on the
//! others.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Result, bail, ensure};
use chaos_common::proto::v1::{firing::What, watch_event::Event};
use libtest_mimic::Trial;
use nix::{errno::Errno, libc};

use crate::harness::{
    Agent, Client, Place, Stage, active, balanced, call, caveats, chaos, fails, mechanism,
    needs_aspect, number, openat, openat_with, outcome, own_binary, poll, reason_against, refused,
    skip, syscalls, syscalls_with, tests, text, trial, uring, ways_to_open, works,
};
use crate::victim::{Arg, Deed, Entry, Tally};

const KIND: &str = "syscall error";
/// As long as a slow machine takes for many calls.
const PATIENCE: Duration = Duration::from_secs(60);

tests![
    a_command_of_chaos_exec_is_hit,
    a_firing_names_the_call_and_who_made_it,
    every_way_to_open_fails,
    programs_with_short_pointers_are_met,
    exactly_the_asked_errno_arrives,
    a_rhythm_and_a_budget_are_exact_under_threads,
    a_share_is_a_share,
    only_the_files_that_are_meant,
    only_the_callers_that_are_meant,
    only_the_sizes_and_kinds_that_are_meant,
    children_and_nested_cgroups_are_hit,
    who_comes_and_who_goes,
    it_ends_by_itself,
    a_daemon_that_is_killed_and_comes_back_goes_on,
    what_a_node_cannot_do_is_refused_by_name,
    a_fault_right_after_another_is_asked_once,
];

/// Once more by `bpf_override_return`, where a kernel has it, whatever else it has.
pub(crate) fn overriding() -> Vec<Trial> {
    type Case = (&'static str, fn() -> Result<()>);
    let all: [Case; 7] = [
        ("every_way_to_open_fails", every_way_to_open_fails),
        ("exactly_the_asked_errno_arrives", exactly_the_asked_errno_arrives),
        ("exact_under_threads", a_rhythm_and_a_budget_are_exact_under_threads),
        ("only_the_files_that_are_meant", only_the_files_that_are_meant),
        ("a_fault_right_after_another_is_asked_once", a_fault_right_after_another_is_asked_once),
        ("what_io_uring_does_is_not_met", what_io_uring_does_is_not_met),
        ("a_daemon_comes_back", a_daemon_that_is_killed_and_comes_back_goes_on),
    ];
    let overrides = |test: fn() -> Result<()>| {
        move || {
            let (stage, daemon) = Stage::served()?;
            let mechanism = mechanism(&daemon.client()?, KIND, "open")?;
            stage.finish(daemon)?;
            if mechanism.contains("bpf_override_return") { test() } else { skip(mechanism) }
        }
    };
    let all = all.map(|(name, test)| trial(module_path!(), name, overrides(test)));
    all.into_iter().collect()
}

/// A file of the test's own.
fn file(stage: &Stage, name: &str) -> Result<String> {
    let path = stage.folder.path().join(name);
    std::fs::write(&path, vec![b'x'; 8192])?;
    Ok(path.to_string_lossy().into_owned())
}

/// Whether calls are met where they begin.
fn begins(client: &Client) -> Result<bool> {
    Ok(caveats(client, KIND, "open")?.contains("io_uring"))
}

/// Whether those of 32-bit programs are, which there are with `CONFIG_IA32_EMULATION`.
fn meets_compat(client: &Client) -> Result<bool> {
    let are_there = Path::new("/proc/sys/abi/vsyscall32").exists();
    Ok(are_there && !caveats(client, KIND, "open")?.contains("32-bit programs"))
}

fn a_command_of_chaos_exec_is_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    needs_aspect(&daemon.client()?, KIND, "open")?;
    let path = file(&stage, "file")?;
    let own = own_binary()?;
    let fault =
        ["exec", "syscall", "error", "--call", "open", "--errno", "EDQUOT", "--path", &path];
    let mut command = chaos(Place::default(), fault)?;
    command.arg("--").arg(own).arg("victim");
    let victim = Agent::over(command)?;
    fails(&victim, &openat(&path), Errno::EDQUOT)?;
    works(&stage.victim, &openat(&path))?;
    let code = victim.end()?;
    ensure!(code == 0, "chaos exec ended with {code}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_firing_names_the_call_and_who_made_it() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let (client, watcher) = (daemon.client()?, daemon.client()?);
    needs_aspect(&client, KIND, "unlink")?;
    let unlink = call(libc::SYS_unlink, [text("/no/such/file")]);
    // Somebody watches before the engine is loaded, or after: both are heard.
    let mut watch = watcher.watch("")?;
    let fault = syscalls(&["unlink", "open"], "EROFS").on(&stage.target);
    let injection = client.inject(fault)?;
    let path = file(&stage, "file")?;
    let unlink = if begins(&client)? { unlink } else { call(libc::SYS_unlink, [text(path)]) };
    let firing = poll::until("a firing", Duration::from_secs(10), || {
        fails(&stage.victim, &unlink, Errno::EROFS)?;
        while let Some(event) = watch.next(Duration::from_millis(200))? {
            if let Event::Firing(firing) = event {
                return Ok(Some(firing));
            }
        }
        Ok(None)
    })?;
    let Some(What::Call(hit)) = &firing.what else { bail!("{firing:?}") };
    ensure!(
        firing.id == injection.id && hit.name == "unlink" && hit.errno == "EROFS",
        "{firing:?}"
    );
    let pid = firing.process.as_ref().map(|process| process.pid);
    ensure!(pid == Some(stage.victim.pid()), "{firing:?}");
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// As its page says; it would be another fault's.
fn what_io_uring_does_is_not_met() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let args = vec![number(libc::AT_FDCWD), text(path), number(0)];
    let by_ring = Deed { entry: Entry::Uring, number: uring::OPENAT, args };
    let injection = client.inject(syscalls(&["open"], "EIO").on(&stage.target))?;
    works(&stage.victim, &by_ring)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn every_way_to_open_fails() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let meets_compat = meets_compat(&client)?;
    for (name, deed) in ways_to_open(&path) {
        if name.starts_with("int80") && !meets_compat {
            continue;
        }
        works(&stage.victim, &deed)?;
        let injection = client.inject(syscalls(&["open"], "EIO").on(&stage.target))?;
        active(&injection)?;
        fails(&stage.victim, &deed, Errno::EIO)?;
        works(&stage.bystander, &deed)?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.fired == 1 && counters.matched == 1, "{name}: {counters:?}");
        works(&stage.victim, &deed)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// x32: 64-bit programs with pointers of 32 bits, whose calls have a bit of their own in their numbers.
fn programs_with_short_pointers_are_met() -> Result<()> {
    const X32: i64 = 0x4000_0000;
    if call(X32 | libc::SYS_getpid, []).run()? == -i64::from(libc::ENOSYS) {
        return skip("this kernel runs no x32 programs (CONFIG_X86_X32_ABI)");
    }
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let deed = call(X32 | libc::SYS_open, [text(&path), number(0)]);
    works(&stage.victim, &deed)?;
    let injection = client.inject(syscalls(&["open"], "EIO").on(&stage.target))?;
    fails(&stage.victim, &deed, Errno::EIO)?;
    works(&stage.bystander, &deed)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn exactly_the_asked_errno_arrives() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "unlink")?;
    for (name, errno) in [
        ("EPERM", Errno::EPERM),
        ("ENOSPC", Errno::ENOSPC),
        ("EROFS", Errno::EROFS),
        ("EDQUOT", Errno::EDQUOT),
        ("EHWPOISON", Errno::EHWPOISON),
    ] {
        let path = file(&stage, "gone")?;
        let unlink = call(libc::SYS_unlink, [text(&path)]);
        let injection = client.inject(syscalls(&["unlink"], name).on(&stage.target))?;
        fails(&stage.victim, &unlink, errno)?;
        ensure!(Path::new(&path).exists(), "{path} is gone all the same");
        client.recover(&injection.id)?;
        works(&stage.victim, &unlink)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_rhythm_and_a_budget_are_exact_under_threads() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    const EIO: i32 = libc::EIO;
    type Fails = fn(u64) -> u64;
    let wanted: [(_, Fails); 4] = [
        (syscalls(&["open"], "EIO").times(37), |_| 37),
        (syscalls(&["open"], "EIO").skip(50).every(7), |calls| {
            calls.saturating_sub(50).div_ceil(7)
        }),
        (syscalls(&["open"], "EIO").skip(200), |calls| calls.saturating_sub(200)),
        (syscalls(&["open"], "EIO").every(16).times(5), |_| 5),
    ];
    // On a kernel that preempts itself nobody is asked on a CPU where a thread was interrupted while it was judged, and in
    // the emulator judging takes its time. Of those that were asked about each counts.
    let is_whole = !caveats(&client, KIND, "open")?.contains("preempts itself");
    for (fault, fails) in wanted {
        let injection = client.inject(fault.on(&stage.target))?;
        let mut tally = Tally::new();
        let mut made = 0;
        poll::until_ok("enough calls to be met", PATIENCE, || {
            for (errno, count) in stage.victim.repeat(&openat(&path), 8, 200, true)? {
                *tally.entry(errno).or_default() += count;
            }
            made += 1600;
            let counters = client.get(&injection.id)?.counters.unwrap_or_default();
            ensure!(is_whole || counters.matched >= 300, "{counters:?}");
            Ok(())
        })?;
        let counters = balanced(&client.recover(&injection.id)?)?;
        let (calls, failed) = (counters.matched, fails(counters.matched));
        ensure!(if is_whole { calls == 1600 } else { calls <= made }, "{counters:?}");
        ensure!(counters.fired == failed, "{counters:?}, not {failed}");
        ensure!(
            tally == BTreeMap::from([(0, made - failed), (EIO, failed)]),
            "{tally:?}: {counters:?}"
        );
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_share_is_a_share() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let fault = || syscalls(&["open"], "ENFILE").percent(10.0).seed(7).on(&stage.target);
    let mut tallies = Vec::new();
    for _ in 0..2 {
        let injection = client.inject(fault())?;
        tallies.push(stage.victim.repeat(&openat(&path), 1, 2000, true)?);
        client.recover(&injection.id)?;
    }
    let fired = tallies[0].get(&libc::ENFILE).copied().unwrap_or(0);
    // 200 expected, with a standard deviation of 13.4.
    ensure!((146..=254).contains(&fired), "10 % of 2000 came to {fired}");
    ensure!(tallies[0] == tallies[1], "the same seed came to something else: {tallies:?}");
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_the_files_that_are_meant() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let (log, other) = (file(&stage, "a.log")?, file(&stage, "b.txt")?);
    let folder = stage.folder.path().to_string_lossy().into_owned();
    works(&stage.victim, &call(libc::SYS_chdir, [text(&folder)]))?;
    let fault = syscalls_with(&["open"], "EIO", |error| {
        error.paths = vec![format!("{folder}/**"), "/etc/*".into()];
        error.except = vec!["*.txt".into()];
    });
    let injection = client.inject(fault.on(&stage.target))?;
    fails(&stage.victim, &openat(&log), Errno::EIO)?;
    // From where the process is, and from a directory that it has open.
    fails(&stage.victim, &openat("a.log"), Errno::EIO)?;
    let directory = outcome(&stage.victim, &openat_with(&folder, libc::O_DIRECTORY))?;
    let Ok(directory) = directory else { bail!("the folder itself: {directory:?}") };
    let beside = call(libc::SYS_openat, [number(directory), text("a.log"), number(0)]);
    fails(&stage.victim, &beside, Errno::EIO)?;
    works(&stage.victim, &openat(&other))?;
    works(&stage.victim, &openat("b.txt"))?;
    works(&stage.victim, &openat("/proc/self/stat"))?;
    works(&stage.bystander, &openat(&log))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.matched == 3, "{counters:?}");
    works(&stage.victim, &openat("a.log"))?;
    works(&stage.victim, &call(libc::SYS_close, [number(directory)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_the_callers_that_are_meant() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let open = openat(&path);
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let name = std::fs::read_to_string(format!("/proc/{}/comm", stage.victim.pid()))?;
    for (fault, is_hit) in [
        (syscalls(&["open"], "EIO").comm(name.trim_end()), true),
        (syscalls(&["open"], "EIO").comm("somebody"), false),
        (syscalls(&["open"], "EIO").exe(&program), true),
        (syscalls(&["open"], "EIO").exe("/nowhere/*"), false),
    ] {
        let injection = client.inject(fault.on(&stage.target))?;
        if is_hit {
            fails(&stage.victim, &open, Errno::EIO)?;
        } else {
            works(&stage.victim, &open)?;
        }
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == u64::from(is_hit), "{counters:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn only_the_sizes_and_kinds_that_are_meant() -> Result<()> {
    use chaos_common::proto::v1::SizeRange;
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "read")?;
    let path = file(&stage, "file")?;
    let Ok(descriptor) = outcome(&stage.victim, &openat(&path))? else {
        bail!("the file does not open")
    };
    let read = |size| {
        call(
            libc::SYS_pread64,
            [number(descriptor), Arg::Room(size), number(size as i64), number(0)],
        )
    };
    let readv = |sizes: &[usize]| {
        let count = sizes.len() as i64;
        call(libc::SYS_readv, [number(descriptor), Arg::Vector(sizes.to_vec()), number(count)])
    };
    let sized = syscalls_with(&["read"], "EIO", |error| {
        error.size = Some(SizeRange { least: Some(100), most: Some(200) });
        error.paths = vec![path.clone()];
    });
    if begins(&client)? {
        let injection = client.inject(sized.on(&stage.target))?;
        for (deed, is_hit) in [
            (read(99), false),
            (read(100), true),
            (read(200), true),
            (read(201), false),
            (readv(&[50, 50]), true),
            (readv(&[50, 49]), false),
            (readv(&[1; 100]), true),
            (readv(&[1; 201]), false),
            // As many as there can be.
            (readv(&[&[0; 924][..], &[1; 100]].concat()), true),
            (readv(&[&[0; 925][..], &[1; 99]].concat()), false),
        ] {
            if is_hit {
                fails(&stage.victim, &deed, Errno::EIO)?;
            } else {
                works(&stage.victim, &deed)?;
            }
        }
        client.recover(&injection.id)?;
        // Where to begin is two arguments of a 32-bit program.
        let args = |size| vec![number(descriptor), number(0), number(0), number(size)];
        let native =
            |size: i64| call(libc::SYS_readahead, [number(descriptor), number(0), number(size)]);
        let compat = |size: i64| Deed { entry: Entry::Compat, number: 225, args: args(size) };
        let fault = syscalls_with(&["readahead"], "EIO", |error| {
            error.size = Some(SizeRange { least: Some(100), most: Some(200) });
        });
        let injection = client.inject(fault.on(&stage.target))?;
        fails(&stage.victim, &native(150), Errno::EIO)?;
        works(&stage.victim, &native(50))?;
        if meets_compat(&client)? {
            fails(&stage.victim, &compat(150), Errno::EIO)?;
            works(&stage.victim, &compat(50))?;
        }
        client.recover(&injection.id)?;
    } else {
        let status = refused(client.inject(sized.on(&stage.target)), "UNSUPPORTED")?;
        ensure!(status.message().contains("no size"), "{status:?}");
    }
    for (kind, is_hit) in [("file", true), ("socket", false), ("pipe", false)] {
        // Where any reading is met, the victim could not hear any more what it is asked.
        if kind == "pipe" && !begins(&client)? {
            continue;
        }
        let fault = syscalls_with(&["pread64"], "EIO", |error| {
            error.files = vec![kind.into()];
        });
        let injection = client.inject(fault.on(&stage.target))?;
        let deed = read(10);
        if is_hit {
            fails(&stage.victim, &deed, Errno::EIO)?;
        } else {
            works(&stage.victim, &deed)?;
        }
        client.recover(&injection.id)?;
    }
    works(&stage.victim, &call(libc::SYS_close, [number(descriptor)]))?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn children_and_nested_cgroups_are_hit() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "mkdir")?;
    let nested = stage.target.child("nested")?;
    let inner = Agent::start(Place::default().cgroup(&nested)?)?;
    let mkdir = |name: &str| {
        let path = stage.folder.path().join(name).to_string_lossy().into_owned();
        call(libc::SYS_mkdir, [text(path), number(0o700)])
    };
    let injection = client.inject(syscalls(&["mkdir"], "ENOSPC").on(&stage.target))?;
    fails(&inner, &mkdir("inner"), Errno::ENOSPC)?;
    let tally = stage.victim.repeat(&mkdir("threads"), 4, 3, false)?;
    ensure!(tally == BTreeMap::from([(libc::ENOSPC, 12)]), "{tally:?}");
    works(&stage.bystander, &mkdir("beside"))?;
    let counters = balanced(&client.recover(&injection.id)?)?;
    ensure!(counters.fired == 13, "{counters:?}");
    // Only what is nested.
    let injection = client.inject(syscalls(&["mkdir"], "ENOSPC").on(&nested))?;
    fails(&inner, &mkdir("inner"), Errno::ENOSPC)?;
    works(&stage.victim, &mkdir("outer"))?;
    client.recover(&injection.id)?;
    drop(inner);
    poll::until_ok("the nested cgroup to be empty", Duration::from_secs(5), || nested.remove())?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn who_comes_and_who_goes() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let open = openat(&path);
    let injection = client.inject(syscalls(&["open"], "EACCES").on(&stage.target))?;
    works(&stage.bystander, &open)?;
    stage.target.adopt(stage.bystander.pid())?;
    fails(&stage.bystander, &open, Errno::EACCES)?;
    stage.sibling.adopt(stage.bystander.pid())?;
    works(&stage.bystander, &open)?;
    fails(&stage.victim, &open, Errno::EACCES)?;
    client.recover(&injection.id)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn it_ends_by_itself() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let open = openat(&path);
    let fault = syscalls(&["open"], "EIO").lasting(Duration::from_secs(3));
    client.inject(fault.on(&stage.target))?;
    fails(&stage.victim, &open, Errno::EIO)?;
    poll::until_ok("the fault to be over", Duration::from_secs(10), || {
        works(&stage.victim, &open)
    })?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn a_daemon_that_is_killed_and_comes_back_goes_on() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    let open = openat(&path);
    let fault = syscalls_with(&["open"], "EIO", |error| error.paths = vec![path.clone()]);
    let injection = client.inject(fault.on(&stage.target))?;
    fails(&stage.victim, &open, Errno::EIO)?;
    daemon.kill()?;
    fails(&stage.victim, &open, Errno::EIO)?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    active(&client.get(&injection.id)?)?;
    fails(&stage.victim, &open, Errno::EIO)?;
    let counters = balanced(&client.get(&injection.id)?)?;
    ensure!(counters.fired == 3 && counters.matched == 3, "{counters:?}");
    client.recover(&injection.id)?;
    works(&stage.victim, &open)?;
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

fn what_a_node_cannot_do_is_refused_by_name() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    let Some(reason) = reason_against(&client, KIND, |aspect| aspect == "futex")? else {
        // Everything can be done here; but nothing is done with a file by this.
        let fault = syscalls_with(&["futex"], "EAGAIN", |error| error.paths = vec!["/**".into()]);
        let status = refused(client.inject(fault.on(&stage.target)), "UNSUPPORTED")?;
        ensure!(status.message().contains("futex: is about no file"), "{status:?}");
        stage.idle(&daemon)?;
        return stage.finish(daemon);
    };
    ensure!(reason.contains("fmod_ret") || reason.contains("CONFIG"), "{reason}");
    let fault =
        |partial| syscalls_with(&["open", "futex"], "EAGAIN", |error| error.partial = partial);
    let status = refused(client.inject(fault(false).on(&stage.target)), "UNSUPPORTED")?;
    ensure!(status.message().contains("futex"), "{status:?}");
    if reason_against(&client, KIND, |aspect| aspect == "open")?.is_none() {
        let path = file(&stage, "file")?;
        let injection = client.inject(fault(true).on(&stage.target))?;
        ensure!(injection.message.contains("futex: "), "{injection:?}");
        fails(&stage.victim, &openat(&path), Errno::EAGAIN)?;
        client.recover(&injection.id)?;
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// The kernel takes its time to detach a program, and the next must not be asked beside it.
fn a_fault_right_after_another_is_asked_once() -> Result<()> {
    let (stage, daemon) = Stage::served()?;
    let client = daemon.client()?;
    needs_aspect(&client, KIND, "open")?;
    let path = file(&stage, "file")?;
    for _ in 0..5 {
        let injection = client.inject(syscalls(&["open"], "EIO").skip(1).on(&stage.target))?;
        let tally = stage.victim.repeat(&openat(&path), 1, 10, true)?;
        ensure!(tally == BTreeMap::from([(0, 1), (libc::EIO, 9)]), "{tally:?}");
        let counters = balanced(&client.recover(&injection.id)?)?;
        ensure!(counters.matched == 10, "{counters:?}");
    }
    stage.idle(&daemon)?;
    stage.finish(daemon)
}
