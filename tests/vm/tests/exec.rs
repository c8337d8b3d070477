//! `chaos exec`: a command with faults on it and on nothing else, and no daemon.

use std::{
    io::BufRead as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{
    Agent, Cgroup, Family, Output, Place, Probe as _, Stage, chaos, finish, net, own_binary, poll,
    run_command, skip, start, trial,
};

pub(crate) fn trials() -> Vec<Trial> {
    type Case = (&'static str, fn() -> Result<()>);
    let all: &[Case] = &[
        ("the_command_and_nobody_else_is_hit", the_command_and_nobody_else_is_hit),
        ("the_status_is_passed_on", the_status_is_passed_on),
        ("signals_are_forwarded", signals_are_forwarded),
        ("input_and_output_are_the_commands", input_and_output_are_the_commands),
        ("several_faults_come_from_a_file", several_faults_come_from_a_file),
        ("a_fault_may_end_before_the_command", a_fault_may_end_before_the_command),
        ("two_at_once_do_not_disturb_each_other", two_at_once_do_not_disturb_each_other),
        ("beside_a_daemon", beside_a_daemon),
        ("a_killed_parent_leaves_nothing_effective", a_killed_parent_leaves_nothing_effective),
        ("nested_cgroups_of_the_command_go_too", nested_cgroups_of_the_command_go_too),
        ("what_makes_no_sense_is_refused", what_makes_no_sense_is_refused),
    ];
    let supported = |test: fn() -> Result<()>| move || has_engine().and_then(|()| test());
    all.iter().map(|(name, test)| trial(module_path!(), name, supported(*test))).collect()
}

/// Below 5.15 the kernel may lack what `network loss` takes; then there is nothing to test.
fn has_engine() -> Result<()> {
    if skip::kernel() >= (5, 15) {
        return Ok(());
    }
    let output = run_command(exec(Place::default(), LOSS, &["child", "exit", "0"])?, "")?;
    if output.code == 0 {
        Ok(())
    } else {
        skip(format!("chaos exec does not work here: {}", output.err))
    }
}

const LOSS: &[&str] = &["network", "loss", "--percent", "100"];

/// `chaos exec FAULT -- vm-tests WORDS`.
fn exec(place: Place, fault: &[&str], words: &[&str]) -> Result<Command> {
    let own = own_binary()?;
    let own = own.to_str().context("the path of this program is no text")?;
    let all = [&["exec"][..], fault, &["--", own], words].concat();
    chaos(place, all)
}

fn near(stage: &Stage) -> Result<Place> {
    Place::default().netns(&stage.net.near)
}

/// A process that makes traffic under `chaos exec`, and the cgroup that it got.
fn under(stage: &Stage, fault: &[&str]) -> Result<(Agent, PathBuf)> {
    let agent = Agent::over(exec(near(stage)?, fault, &["victim"])?)?;
    let path = agent.cgroup()?;
    let root = crate::harness::cgroup_mount()?;
    Ok((agent, root.join(path.trim_start_matches('/'))))
}

/// Ends the process and checks that its cgroup is gone with it.
fn ended(stage: &Stage, agent: &Agent, cgroup: &Path) -> Result<()> {
    let code = agent.end()?;
    ensure!(code == 0, "chaos exec ended with {code}");
    ensure!(!cgroup.exists(), "the cgroup {} is left", cgroup.display());
    stage.clean()
}

fn the_command_and_nobody_else_is_hit() -> Result<()> {
    let stage = Stage::new()?;
    let bystander = stage.bystander_udp()?;
    bystander.all_arrive()?;
    for direction in ["out", "in"] {
        for family in net::families() {
            let (agent, cgroup) = under(&stage, &[LOSS, &["--direction", direction]].concat())?;
            let (here, far) = ((&agent, net::near(family)), (&stage.far, net::far(family)));
            let (out, inward) = (stage.udp("out", here, far)?, stage.udp("in", far, here)?);
            let (hit, spared) = if direction == "out" { (&out, &inward) } else { (&inward, &out) };
            hit.none_arrive()?;
            spared.all_arrive()?;
            bystander.all_arrive()?;
            stage.victim_udp()?.all_arrive()?;
            ended(&stage, &agent, &cgroup)?;
        }
    }
    bystander.all_arrive()
}

fn the_status_is_passed_on() -> Result<()> {
    let stage = Stage::new()?;
    for code in [0, 1, 7, 42, 64, 255] {
        let output =
            run_command(exec(near(&stage)?, LOSS, &["child", "exit", &code.to_string()])?, "")?;
        ensure!(output.code == code && output.out.is_empty(), "{code}: {output:?}");
        stage.clean()?;
    }
    let output = run_command(exec(near(&stage)?, LOSS, &["child", "die", "SIGKILL"])?, "")?;
    ensure!(output.code == 128 + 9, "{output:?}");
    stage.clean()
}

fn signals_are_forwarded() -> Result<()> {
    let stage = Stage::new()?;
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1] {
        let mut child = start(exec(near(&stage)?, LOSS, &["child", "signal"])?)?;
        let out = child.stdout.take().context("no output")?;
        let mut lines = std::io::BufReader::new(out).lines();
        let first = lines.next().context("the command said nothing")??;
        ensure!(first == "ready", "{first}");
        kill(Pid::from_raw(child.id() as i32), signal)?;
        let got = lines.next().with_context(|| format!("{signal} did not reach the command"))??;
        ensure!(got == signal.as_str(), "{got} came instead of {signal}");
        let output = finish(child, "")?;
        ensure!(output.code == 42, "{output:?}");
        stage.clean()?;
    }
    Ok(())
}

fn input_and_output_are_the_commands() -> Result<()> {
    let stage = Stage::new()?;
    let input = "a line\nand another\0\u{1f4a5}\n".repeat(5000);
    let output = run_command(exec(near(&stage)?, LOSS, &["child", "copy"])?, &input)?;
    ensure!(
        output.code == 0 && output.out == input,
        "{} of {} bytes came back",
        output.out.len(),
        input.len()
    );
    // Whatever chaos itself says goes before or after it, to the errors only.
    ensure!(output.err.contains(&input.len().to_string()), "{}", output.err);
    stage.clean()
}

fn several_faults_come_from_a_file() -> Result<()> {
    let stage = Stage::new()?;
    let file = stage.scratch.join("faults.yaml");
    let doc = |remote: &str| {
        format!("fault: {{networkLoss: {{percent: 100, filter: {{remote: ['{remote}']}}}}}}\n")
    };
    std::fs::write(&file, format!("{}---\n{}", doc("10.77.0.2"), doc("10.77.0.3")))?;
    let file = file.to_str().context("no text")?.to_owned();
    let (agent, cgroup) = under(&stage, &["-f", &file])?;
    for (last, is_hit) in [(2, true), (3, true), (4, false)] {
        let far = (&stage.far, net::address(Family::V4, 77, last));
        let flow = stage.udp(format!("to {last}"), (&agent, net::near(Family::V4)), far)?;
        if is_hit { flow.none_arrive()? } else { flow.all_arrive()? }
    }
    ended(&stage, &agent, &cgroup)
}

fn a_fault_may_end_before_the_command() -> Result<()> {
    let stage = Stage::new()?;
    let (agent, cgroup) = under(&stage, &[LOSS, &["--duration", "2s"]].concat())?;
    let flow =
        stage.udp("exec", (&agent, net::near(Family::V4)), (&stage.far, net::far(Family::V4)))?;
    flow.none_arrive()?;
    poll::until_ok("the deadline", Duration::from_secs(8), || flow.all_arrive_now())?;
    ended(&stage, &agent, &cgroup)
}

fn two_at_once_do_not_disturb_each_other() -> Result<()> {
    let stage = Stage::new()?;
    let (one, one_cgroup) = under(&stage, &[LOSS, &["--to", "10.77.0.2"]].concat())?;
    let (two, two_cgroup) = under(&stage, &[LOSS, &["--to", "10.77.0.3"]].concat())?;
    let flow = |agent, last| {
        let far = (&stage.far, net::address(Family::V4, 77, last));
        stage.udp(format!("to {last}"), (agent, net::near(Family::V4)), far)
    };
    let check_two = || {
        flow(&two, 2)?.all_arrive()?;
        flow(&two, 3)?.none_arrive()
    };
    flow(&one, 2)?.none_arrive()?;
    flow(&one, 3)?.all_arrive()?;
    check_two()?;
    ensure!(one.end()? == 0 && !one_cgroup.exists());
    check_two()?;
    ended(&stage, &two, &two_cgroup)
}

/// A daemon with faults in the same namespace, and `chaos exec`: each sees to its own.
fn beside_a_daemon() -> Result<()> {
    let stage = Stage::new()?;
    let daemon = stage.daemon()?;
    let client = daemon.client()?;
    let victim = stage.victim_udp()?;
    client.inject(crate::harness::Loss::all().on(&stage.target))?;
    let (agent, cgroup) = under(&stage, LOSS)?;
    let flow =
        stage.udp("exec", (&agent, net::near(Family::V4)), (&stage.far, net::far(Family::V4)))?;
    flow.none_arrive()?;
    victim.none_arrive()?;
    ensure!(agent.end()? == 0 && !cgroup.exists());
    victim.none_arrive()?;
    stage.bystander_udp()?.all_arrive()?;
    let (agent, cgroup) = under(&stage, LOSS)?;
    client.recover_all()?;
    let flow =
        stage.udp("exec", (&agent, net::near(Family::V4)), (&stage.far, net::far(Family::V4)))?;
    flow.none_arrive()?;
    victim.all_arrive()?;
    ensure!(agent.end()? == 0 && !cgroup.exists());
    stage.idle(&daemon)?;
    stage.finish(daemon)
}

/// Nobody can clean up after SIGKILL, but what is left must do nothing, and the next run removes it.
fn a_killed_parent_leaves_nothing_effective() -> Result<()> {
    let stage = Stage::new()?;
    let (agent, cgroup) = under(&stage, LOSS)?;
    let flow =
        stage.udp("exec", (&agent, net::near(Family::V4)), (&stage.far, net::far(Family::V4)))?;
    flow.none_arrive()?;
    agent.kill()?;
    // A newcomer to the same cgroup stands for the command, which may have ended with its parent.
    let left = cgroup.exists().then(|| Cgroup::left(&cgroup)).transpose()?;
    if let Some(left) = &left {
        let newcomer = Agent::start(Place::default().cgroup(left)?.netns(&stage.net.near)?)?;
        let ends = (net::near(Family::V4), net::far(Family::V4));
        let flow = stage.udp("newcomer", (&newcomer, ends.0), (&stage.far, ends.1))?;
        poll::until_ok("the lease to lapse", Duration::from_secs(20), || flow.all_arrive_now())?;
    }
    drop(left);
    stage.bystander_udp()?.all_arrive()?;
    let output = run_command(exec(near(&stage)?, LOSS, &["child", "exit", "0"])?, "")?;
    ensure!(output.code == 0, "{output:?}");
    stage.clean()
}

/// A command may be a container runtime or a service manager: what it leaves running deep below goes on
/// outside, and is named; the cgroups that it made go with ours.
fn nested_cgroups_of_the_command_go_too() -> Result<()> {
    let stage = Stage::new()?;
    let home = stage.base.child("home")?;
    let output = run_command(exec(near(&stage)?.cgroup(&home)?, LOSS, &["child", "nest"])?, "")?;
    ensure!(output.code == 0, "{output:?}");
    let left = output.out.trim();
    ensure!(output.err.contains(left), "the process {left} is not named: {output:?}");
    let cgroup = std::fs::read_to_string(format!("/proc/{left}/cgroup"))
        .with_context(|| format!("the process {left} did not go on"))?;
    ensure!(cgroup.lines().any(|line| line == format!("0::{}", home.path())), "{cgroup}");
    let dirs = std::fs::read_dir(home.dir())?.flatten().filter(|entry| entry.path().is_dir());
    let dirs: Vec<_> = dirs.map(|entry| entry.path()).collect();
    ensure!(dirs.is_empty(), "cgroups are left: {dirs:?}");
    drop(home);
    stage.clean()
}

fn what_makes_no_sense_is_refused() -> Result<()> {
    let stage = Stage::new()?;
    let touched = stage.scratch.join("touched");
    let refused = |output: Output, code: i32, named: &str| {
        ensure!(output.code == code && output.err.contains(named), "{output:?}");
        ensure!(!touched.exists(), "the command was run");
        stage.clean()
    };
    let run =
        |fault: &[&str]| run_command(exec(near(&stage)?, fault, &["child", "exit", "0"])?, "");
    refused(run(&["network", "loss", "--percent", "101"])?, 64, "101")?;
    refused(run(&["network", "loose"])?, 64, "loose")?;
    refused(run(&["-f", "/no/such/file"])?, 1, "/no/such/file")?;
    refused(
        run_command(chaos(near(&stage)?, [&["exec"][..], LOSS].concat())?, "")?,
        64,
        "COMMAND",
    )?;
    let missing = [&["exec"][..], LOSS, &["--", "/no/such/program"]].concat();
    let output = run_command(chaos(near(&stage)?, missing)?, "")?;
    ensure!(output.code != 0 && output.err.contains("/no/such/program"), "{output:?}");
    stage.clean()?;
    // Without root there is no fault, and then the command must not run as if there were one.
    let place = Place::default().netns(&stage.net.near)?.user(65534, 65534);
    let output = run_command(exec(place, LOSS, &["child", "copy"])?, "")?;
    ensure!(output.code == 1 && output.err.contains("root"), "{output:?}");
    stage.clean()
}
