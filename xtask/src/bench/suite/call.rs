//! What faults of calls cost, beside a program that does nothing at the same function, and beside `strace`.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use chaos_common::proto::v1::{self, fault::Fault};
use chaos_daemon::kernel::attach_nothing;

use super::Wanted;
use crate::{
    compare::{Condition, Leave, compare, nothing},
    daemon::{Daemon, spec},
    place::{Cgroup, NetNs},
    row::{Goal, Row},
    setting::Subjects,
    worker::Worker,
};

/// On so many cgroups.
const CGROUPS: usize = 1000;
/// On each of them.
const RULES: usize = 10;
const CLIENTS: usize = 4;
/// The clock counts instructions: what is left of noise is interrupts.
const ROUNDS: u32 = 4;
const TIMES: u32 = 2000;
/// `strace` is slow.
const TRACED: u32 = 200;
/// Of which each tenth fails.
const THROWS: u32 = 10_000;
/// Longer than programs stay attached that no rule needs.
const DETACHED: Duration = Duration::from_secs(3);

/// A call, and a function of the kernel where a fault of it has its program.
struct Call {
    name: &'static str,
    function: &'static str,
    goal: Goal,
    fault: fn(matches: bool) -> Fault,
    time: fn(&mut Worker, &str) -> Result<f64>,
}

const OPEN: Goal = Goal::AtMost(1.05);
const CHEAPEST: Goal = Goal::AtMost(1.2);

const CALLS: [Call; 3] = [
    Call {
        name: "openat + close, where openat begins",
        function: "__x64_sys_openat",
        goal: OPEN,
        fault: |matches| syscall("=openat", if matches { FILE } else { "/no/such/**" }),
        time: |worker, path| worker.open(path, TIMES),
    },
    Call {
        name: "openat + close, where security modules are asked",
        function: "security_file_open",
        goal: OPEN,
        fault: |matches| file(if matches { FILE } else { "/no/such/**" }),
        time: |worker, path| worker.open(path, TIMES),
    },
    Call {
        name: "umask",
        function: "__x64_sys_umask",
        goal: CHEAPEST,
        fault: |_| {
            let caller = Some(v1::Caller { comm: Some("nobody".into()), exe: Vec::new() });
            Fault::SyscallError(v1::SyscallError { caller, ..named("=umask") })
        },
        time: |worker, _| worker.umask(TIMES),
    },
];

/// Below the root of whoever opens it.
const FILE: &str = "/tmp/chaos-bench-file";

fn named(call: &str) -> v1::SyscallError {
    v1::SyscallError { calls: vec![call.into()], errno: "EIO".into(), ..Default::default() }
}

fn syscall(call: &str, path: &str) -> Fault {
    Fault::SyscallError(v1::SyscallError { paths: vec![path.into()], ..named(call) })
}

fn file(path: &str) -> Fault {
    Fault::FileError(v1::FileError {
        paths: vec![path.into()],
        operations: vec!["open".into()],
        errno: "EIO".into(),
        ..Default::default()
    })
}

pub(super) fn run(subjects: &Subjects, wanted: &Wanted<'_>) -> Result<Vec<Row>> {
    fs::write(FILE, "text").context("cannot make a file to open")?;
    let netns = NetNs::new()?;
    let (target, other, parent) = (Cgroup::new()?, Cgroup::new()?, Cgroup::new()?);
    let mut victim = Worker::start(&target, &netns)?;
    let mut bystander = Worker::start(&other, &netns)?;
    let crowd = parent.children(CGROUPS)?;
    let mut rows = Vec::new();
    for call in CALLS.iter().filter(|call| wanted.may_have(&format!("call, {}: ", call.name))) {
        rows.extend(beside(subjects, call, &target, &crowd, &mut victim, &mut bystander)?);
    }
    if wanted.may_have("call, openat: ") {
        rows.extend(traced(subjects, &target, &mut victim)?);
        rows.push(share(subjects, &target, &mut victim)?);
    }
    fs::remove_file(FILE)?;
    Ok(rows)
}

/// Somebody who is no target, with one rule and with ten thousand, and the target with rules that do not match.
fn beside(
    subjects: &Subjects,
    call: &Call,
    target: &Cgroup,
    crowd: &[Cgroup],
    victim: &mut Worker,
    bystander: &mut Worker,
) -> Result<Vec<Row>> {
    let few = Daemon::start(subjects)?;
    let rule = |cgroup: &Cgroup| spec(cgroup, (call.fault)(false));
    let mut conditions: [Condition<'_>; 3] = [
        nothing(),
        Box::new(|| empty(call.function)),
        Box::new(|| detached(few.during(rule(target))?)),
    ];
    let one = compare(ROUNDS, &mut conditions, || {
        Ok(vec![(call.time)(bystander, FILE)?, (call.time)(victim, FILE)?])
    })?;
    drop(conditions);
    drop(few);
    let many = Daemon::start(subjects)?;
    let rules = crowd.iter().flat_map(|cgroup| (0..RULES).map(|_| rule(cgroup)));
    many.inject_all(rules.collect(), CLIENTS)?;
    let crowded = compare(ROUNDS, &mut [nothing()], || Ok(vec![(call.time)(bystander, FILE)?]))?;
    many.recover_all()?;
    let nothing_there = format!("no program: {:.0} ns", one.figure(0, 0));
    let baseline = || format!("empty program: {:.0} ns", one.figure(1, 0));
    let name = |who: &str| format!("call, {}: {who}", call.name);
    let crowded = crowded.figure(0, 0) / one.figure(1, 0);
    Ok(vec![
        Row::ratio(name("empty program"), one.ratio(1, 0, 0), nothing_there.clone()),
        Row::ratio(name("no target"), one.ratio(2, 1, 0), baseline()).goal(call.goal),
        Row::ratio(name("no target, 10,000 rules"), crowded, baseline()).goal(call.goal),
        Row::ratio(name("target, no match"), one.ratio(2, 1, 1), baseline()).goal(call.goal),
        Row::ratio(name("target, no match, to none"), one.ratio(2, 0, 1), nothing_there),
    ])
}

/// Ends a condition when nothing of it is attached any more.
fn detached(leave: Leave<'_>) -> Result<Leave<'_>> {
    Ok(Box::new(move || {
        leave()?;
        thread::sleep(DETACHED);
        Ok(())
    }))
}

/// A program that does nothing, as a condition.
fn empty<'a>(function: &str) -> Result<Leave<'a>> {
    let attached = attach_nothing(function).map_err(|reason| anyhow!(reason))?;
    Ok(Box::new(move || {
        drop(attached);
        Ok(())
    }))
}

/// What developers do today.
fn traced(subjects: &Subjects, target: &Cgroup, victim: &mut Worker) -> Result<Vec<Row>> {
    const INJECT: &str = "inject=openat:error=EIO";
    let free = victim.open(FILE, TIMES)?;
    let mut rows = Vec::new();
    let mut add = |who: &str, time: f64| {
        let baseline = format!("untraced: {free:.0} ns");
        rows.push(Row::ratio(format!("call, openat: {who}"), time / free, baseline));
    };
    let daemon = Daemon::start(subjects)?;
    let leave = daemon.during(spec(target, syscall("=openat", FILE)))?;
    add("fails, by chaos", victim.open_in_vain(FILE, TIMES)?);
    leave()?;
    let leave = daemon.during(spec(target, syscall("=openat", "/no/such/**")))?;
    add("not this path, by chaos", victim.open(FILE, TIMES)?);
    leave()?;
    let with_path = |path: &str| format!("--trace-path={path}");
    for (who, arguments, fails) in [
        ("fails, by strace", vec!["-e".to_owned(), INJECT.to_owned(), with_path(FILE)], true),
        (
            "not this path, by strace",
            vec!["-e".to_owned(), INJECT.to_owned(), with_path("/no/such")],
            false,
        ),
        (
            "not this call, by strace",
            vec!["-e".to_owned(), "inject=umask:error=EIO".to_owned()],
            false,
        ),
        (
            "not this call, by strace --seccomp-bpf",
            vec!["--seccomp-bpf".to_owned(), "-e".to_owned(), "trace=umask".to_owned()],
            false,
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut worker = Worker::traced(&arguments)?;
        let time =
            if fails { worker.open_in_vain(FILE, TRACED)? } else { worker.open(FILE, TRACED)? };
        add(who, time);
    }
    Ok(rows)
}

/// How many of those fail of which each tenth is to.
fn share(subjects: &Subjects, target: &Cgroup, victim: &mut Worker) -> Result<Row> {
    let daemon = Daemon::start(subjects)?;
    let occasion = Some(v1::Occasion { percent: Some(10.0), ..Default::default() });
    let Fault::SyscallError(error) = syscall("=openat", FILE) else { unreachable!() };
    let fault = Fault::SyscallError(v1::SyscallError { occasion, ..error });
    let leave = daemon.during(spec(target, fault))?;
    let failed = victim.failures(FILE, THROWS)?;
    leave()?;
    // Four standard deviations of a binomial distribution to each side.
    let row = Row::new("call, openat: 10 % fail", failed * 100.0 / f64::from(THROWS), "%");
    Ok(row.against(format!("of {THROWS} calls")).goal(Goal::Within(8.8, 11.2)))
}
